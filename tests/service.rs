//! The program through its front doors, against real services.

mod api;
mod faults;
mod increments;
mod roundtrip;
mod support;
