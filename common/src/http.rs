//! What HTTP servers answer, bounded while it is read.

use reqwest::Response;

/// The body of an answer; nothing if it is longer than `most`.
pub(crate) async fn body(
    mut answer: Response,
    most: usize,
) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}
