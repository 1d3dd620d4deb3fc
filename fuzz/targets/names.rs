//! Names of runs and nodes, and kinds and methods of jobs.

use std::path::Path;

use primepool_common::{
    message::{JobKind, Method, RunId, is_node_name},
    metrics::{Point, encode, influxql_string},
    topology,
};
use primepool_fuzz::{assert_brief, valid_text};

pub(crate) fn run(data: &[u8]) {
    let text = valid_text(data);
    match text.parse::<RunId>() {
        Ok(run) => {
            assert_eq!(run.to_string(), text);
            // A run name is safe as a folder name, as a routing key and as the end of a queue name.
            let parts = Path::new("runs").join(run.as_str());
            assert_eq!(parts.components().count(), 2);
            assert_eq!(parts.file_name().and_then(|name| name.to_str()), Some(text));
            assert!(topology::results_queue(&run).len() <= 255);
            assert!(is_node_name(text));
        }
        Err(error) => assert_brief(&error.to_string()),
    }
    if is_node_name(text) {
        // A node name is safe as the value of a tag, without escapes.
        let mut line = String::new();
        encode(
            &Point::new("x", 1).tag("node", text).field("y", true),
            &mut line,
        );
        assert_eq!(line, format!("x,node={text} y=true 1\n"));
    }
    match text.parse::<JobKind>() {
        Ok(kind) => assert_eq!(kind.to_string(), text),
        Err(error) => assert_brief(&error),
    }
    match text.parse::<Method>() {
        Ok(method) => assert_eq!(method.to_string(), text),
        Err(error) => assert_brief(&error),
    }
    // No quote inside the string ends it early.
    let quoted = influxql_string(text);
    let inner = &quoted[1..quoted.len() - 1];
    let mut is_escaped = false;
    for c in inner.chars() {
        assert!(c != '\'' || is_escaped, "{quoted}");
        is_escaped = c == '\\' && !is_escaped;
    }
    assert!(!is_escaped, "{quoted}");
}
