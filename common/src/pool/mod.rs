//! The members of the pool: their announcements, and the view that an observer builds from them.

mod announcer;
mod depth;
mod observer;
mod view;

pub use announcer::Announcer;
pub use depth::units_a_worker;
pub use observer::PresenceReader;
pub use view::{Census, MOST_SHARE, MOST_WORKERS, PoolView, SeenNode, SeenRun};
