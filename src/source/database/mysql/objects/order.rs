//! Views in an order in which each can be made.

use super::{Kind, Object};

/// Puts what a view may need before it: its text names it. Views that need each other stay in the order of their names.
pub(super) fn sort(objects: &mut Vec<Object>) {
    objects.sort_by(|a, b| a.kind.cmp(&b.kind));
    let first = objects.partition_point(|object| object.kind < Kind::View);
    let end = objects.partition_point(|object| object.kind <= Kind::View);
    let mut waiting: Vec<Object> = objects.drain(first..end).collect();
    let mut sorted = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let names: Vec<String> = waiting.iter().map(|view| super::identifier(&view.name)).collect();
        let needs = |view: &Object| {
            let text = String::from_utf8_lossy(&view.statement);
            names.iter().any(|name| *name != super::identifier(&view.name) && text.contains(name))
        };
        let (later, now): (Vec<_>, Vec<_>) = waiting.drain(..).partition(needs);
        if now.is_empty() {
            sorted.extend(later);
            break;
        }
        sorted.extend(now);
        waiting = later;
    }
    objects.splice(first..first, sorted);
}
