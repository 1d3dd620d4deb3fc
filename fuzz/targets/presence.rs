//! Presence messages of the members of the pool.

use std::time::{Duration, Instant};

use primepool_common::{
    jobs::JobKind,
    message::{MAX_PRESENCE_BYTES, Presence, Subject, is_node_name},
    pool::PoolView,
    text::MAX_REASON_BYTES,
};
use primepool_fuzz::{assert_brief, within_bounds};

pub(crate) fn run(body: &[u8]) {
    let presence = match within_bounds(body, Presence::decode) {
        Ok(presence) => presence,
        Err(error) => return assert_brief(&error.to_string()),
    };
    assert!(body.len() <= MAX_PRESENCE_BYTES);
    let texts = match &presence.subject {
        Subject::Node(node) => {
            assert!(is_node_name(&node.name));
            vec![&node.program]
        }
        Subject::Run(run) => run.by.iter().chain([&run.what]).collect(),
    };
    for text in texts {
        assert!(text.len() <= MAX_REASON_BYTES);
    }
    let written = presence.encode();
    assert_eq!(Presence::decode(&written).as_ref(), Ok(&presence));
    // For every message the effect on an observer's view is bounded, and expires.
    let (mut view, now) = (PoolView::default(), Instant::now());
    let own = "r1".parse().expect("a name");
    view.note(presence, now);
    for kind in JobKind::ALL {
        assert!(view.workers(kind, now) <= 4096);
        assert!(view.consumers(kind, now) <= 1);
    }
    assert!(view.others_share(&own, now) <= 1000);
    let later = now + Duration::from_secs(200);
    assert_eq!(view.workers(JobKind::Prime, later), 0);
    assert_eq!(view.others_share(&own, later), 0);
}
