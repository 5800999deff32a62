//! A data member into a staged table.

use bytes::Bytes;
use futures::StreamExt;

use super::super::catalog::Relation;
use super::super::connect::Session;
use super::super::names::identifier;
use super::super::{large, rows};
use super::Fault;
use crate::source::database::Statements;

/// What stands before the rows is not longer.
const LONGEST_HEAD: usize = 4 << 20;
/// The same for one statement of a large object.
const LONGEST_LINE: usize = 4 << 20;
const FROM: &[u8] = b" FROM stdin;\n";

/// Told how many bytes were taken.
pub(super) type Told<'a> = &'a (dyn for<'b> Fn(u64) + Send + Sync);

/// The pieces of a member, with a view of what comes next.
struct Input {
    statements: Statements,
    buffer: Vec<u8>,
    ended: bool,
}

impl Input {
    async fn more(&mut self) -> Result<bool, Fault> {
        if self.ended {
            return Ok(false);
        }
        match self.statements.next().await {
            Some(Ok(piece)) => self.buffer.extend_from_slice(&piece),
            Some(Err(error)) => return Err(Fault::Text(format!("reading the archive: {error}"))),
            None => self.ended = true,
        }
        Ok(!self.ended)
    }
}

/// Loads one table's rows; returns how many the server took.
pub(super) async fn rows(
    session: &mut Session,
    relation: &Relation,
    statements: Statements,
    told: Told<'_>,
) -> Result<u64, Fault> {
    let mut input = Input { statements, buffer: Vec::new(), ended: false };
    let head = loop {
        if let Some(at) = find(&input.buffer, FROM) {
            break input.buffer.drain(..at + FROM.len()).collect::<Vec<u8>>();
        }
        if input.buffer.len() > LONGEST_HEAD || !input.more().await? {
            return match input.buffer.iter().all(u8::is_ascii_whitespace) {
                true => Ok(0),
                false => Err(Fault::Text("its rows do not begin with COPY".to_owned())),
            };
        }
    };
    let (encoding, columns) = read_head(&head, relation)?;
    told(head.len() as u64);
    let own = session.value("SHOW client_encoding").await?.unwrap_or_default();
    if encoding != own {
        session.run(&format!("SET client_encoding = '{encoding}'")).await?;
    }
    let mut copy =
        session.copy_in(&format!("COPY {}{columns} FROM STDIN", relation.loaded_by())).await?;
    let mut at_line = true;
    loop {
        // The end, at the beginning of a line.
        let mut end = None;
        if at_line && input.buffer.starts_with(rows::END) {
            end = Some(0);
        } else if let Some(at) = find(&input.buffer, b"\n\\.\n") {
            end = Some(at + 1);
        }
        if let Some(end) = end {
            copy.send(&input.buffer[..end]).await?;
            let rest = end + rows::END.len();
            told(rest as u64);
            input.buffer.drain(..rest);
            break;
        }
        // Up to what might be the beginning of an end.
        let whole = input.buffer.len().saturating_sub(rows::END.len() + 1);
        if whole > 0 {
            at_line = input.buffer[whole - 1] == b'\n';
            copy.send(&input.buffer[..whole]).await?;
            told(whole as u64);
            input.buffer.drain(..whole);
        }
        if !input.more().await? {
            return Err(Fault::Text("its rows do not end as they should".to_owned()));
        }
    }
    let rows = copy.finish().await;
    session.copied();
    let rows = rows?;
    loop {
        if !input.buffer.iter().all(u8::is_ascii_whitespace) {
            return Err(Fault::Text("something follows its rows".to_owned()));
        }
        told(input.buffer.len() as u64);
        input.buffer.clear();
        if !input.more().await? {
            break;
        }
    }
    if encoding != own {
        session.run(&format!("SET client_encoding = '{own}'")).await?;
    }
    Ok(rows)
}

/// The encoding and the list of columns that stand before the rows, if they are nothing but that.
fn read_head(head: &[u8], relation: &Relation) -> Result<(String, String), Fault> {
    let wrong = |what: &str| Fault::Text(format!("what stands before its rows {what}"));
    let head = std::str::from_utf8(head).map_err(|_| wrong("is not UTF-8"))?;
    let rest =
        head.strip_prefix("SET client_encoding = '").ok_or_else(|| wrong("says no encoding"))?;
    let (encoding, rest) = rest.split_once("';\n").ok_or_else(|| wrong("says no encoding"))?;
    if encoding.is_empty()
        || !encoding.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        return Err(wrong("says no encoding"));
    }
    let columns = [relation.loaded_by(), relation.sql()]
        .iter()
        .find_map(|table| rest.strip_prefix("COPY ")?.strip_prefix(table.as_str()))
        .and_then(|rest| rest.strip_suffix(" FROM stdin;\n"))
        .ok_or_else(|| wrong("is not the COPY of its table"))?;
    let mut list = match columns {
        "" => return Ok((encoding.to_owned(), String::new())),
        columns => columns
            .strip_prefix(" (")
            .and_then(|columns| columns.strip_suffix(')'))
            .ok_or_else(|| wrong("is not a list of columns"))?,
    };
    loop {
        let name = relation.columns.iter().map(|name| identifier(name)).find(|name| {
            list.strip_prefix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(", "))
        });
        let Some(name) = name else { return Err(wrong("names a column that is not there")) };
        list = &list[name.len()..];
        if list.is_empty() {
            return Ok((encoding.to_owned(), columns.to_owned()));
        }
        list = &list[2..];
    }
}

/// Loads the contents of large objects, of those in `known` alone; returns how many statements there were.
pub(super) async fn large_objects(
    session: &mut Session,
    known: &std::collections::BTreeSet<u64>,
    statements: Statements,
    told: Told<'_>,
) -> Result<u64, Fault> {
    let mut input = Input { statements, buffer: Vec::new(), ended: false };
    let mut count = 0;
    loop {
        while let Some(at) = find(&input.buffer, b"\n") {
            let line: Bytes = input.buffer.drain(..=at).collect::<Vec<u8>>().into();
            told(line.len() as u64);
            let text = std::str::from_utf8(&line).unwrap_or_default().trim_end();
            let object = large::statement(text);
            if !object.is_some_and(|object| known.contains(&object)) {
                return Err(Fault::Text("its data is not that of large objects".to_owned()));
            }
            session.run(text).await?;
            count += 1;
        }
        if input.buffer.len() > LONGEST_LINE {
            return Err(Fault::Text("its data is not that of large objects".to_owned()));
        }
        if !input.more().await? {
            return match input.buffer.is_empty() {
                true => Ok(count),
                false => Err(Fault::Text("its data does not end as it should".to_owned())),
            };
        }
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut at = 0;
    while let Some(next) = text[at..].iter().position(|byte| *byte == first) {
        if text[at + next..].starts_with(wanted) {
            return Some(at + next);
        }
        at += next + 1;
    }
    None
}
