//! Views in an order in which each can be made.

use super::{Kind, Object, head, identifier};

/// Puts what a view may need before it: its text names it. Views that need each other stay in the order of their names.
pub(super) fn sort(objects: &mut Vec<Object>) {
    objects.sort_by(|a, b| a.kind.cmp(&b.kind));
    let first = objects.partition_point(|object| object.kind < Kind::View);
    let end = objects.partition_point(|object| object.kind <= Kind::View);
    let mut waiting: Vec<Object> = objects.drain(first..end).collect();
    let mut sorted = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let names: Vec<String> = waiting.iter().map(|view| identifier(&view.name)).collect();
        let needs = |view: &Object| {
            let (own, named) = (identifier(&view.name), head::names(&view.statement));
            names.iter().any(|name| *name != own && named.contains(name.as_bytes()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::database::ObjectText;

    #[test]
    fn a_view_comes_after_those_that_it_names() {
        let object = |kind: &str, name: &str, sql: &str| {
            let sql = format!(
                "DROP {} IF EXISTS `{name}`;\nSET sql_mode='', character_set_client=utf8mb4, \
                 collation_connection=utf8mb4_bin;\nDELIMITER ;;\nCREATE {sql}\n;;\nDELIMITER ;\n",
                kind.to_uppercase()
            );
            let text = ObjectText { kind: kind.to_owned(), name: name.to_owned(), sql: sql.into() };
            Object::from_text(&text).unwrap()
        };
        let mut objects = vec![
            object("event", "e", "EVENT e"),
            object("view", "a", "VIEW `a` AS select `b`.`x` from `b`"),
            object("view", "b", "VIEW `b` AS select '`a`',\"`c`\\\"`a`\" from `c`"),
            object("view", "c", "VIEW `c` AS select 1"),
            object("view", "x", "VIEW `x` AS select `y`.`x` from `y`"),
            object("view", "y", "VIEW `y` AS select `x`.`y` from `x`"),
            object("procedure", "p", "PROCEDURE p"),
        ];
        sort(&mut objects);
        let names: Vec<&str> = objects.iter().map(|object| object.name.as_str()).collect();
        assert_eq!(names, ["p", "c", "b", "a", "x", "y", "e"]);
    }
}
