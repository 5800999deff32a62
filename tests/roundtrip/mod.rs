//! What was put in comes out.

mod plain;
