//! Any folder or bucket.
