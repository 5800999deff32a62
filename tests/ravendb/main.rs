//! RavenDB's backup API as its clients meet it. What is quoted are the facts that it was made by.

#[path = "../support/mod.rs"]
mod support;

mod deleting;
mod increments;
mod indexes;
mod killed;
mod raven;
mod refusals;
mod roundtrip;
mod running;
mod secrets;
mod seeds;
