//! The program through its front doors, against real services.

mod api;
mod faults;
mod roundtrip;
mod support;
