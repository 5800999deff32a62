//! When backups are made of themselves, and which stay: pure computations, given what is and what time it is.

pub mod clock;
pub mod cron;
pub mod due;
pub mod period;
pub mod retention;
pub mod zones;

pub use clock::{Clock, SetClock, SystemClock};
pub use cron::{Cron, CronError};
pub use period::{Period, Periodic, full_every};
