//! A restore's plan as a table.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::HumanDuration;

use super::{CliError, output};
use crate::ops::restore::{IndexAction, ObjectPlan, RestorePlan, TableAction, TablePlan};

pub fn print(plan: &RestorePlan) -> Result<(), CliError> {
    lines(plan).iter().try_for_each(|line| output::line(line))
}

fn lines(plan: &RestorePlan) -> Vec<String> {
    let what = if plan.dump { "the whole installation" } else { "one portal" };
    let made = plan.created_on.as_deref().map(|at| format!(", made {at}")).unwrap_or_default();
    let verified = if plan.verified { ", read and found whole" } else { ", not read yet" };
    let mut lines = vec![format!(
        "archive      {}: {}, {} ({what}){made}{verified}",
        plan.archive,
        output::bytes(plan.size),
        plan.format
    )];
    lines.extend(tables(&plan.tables));
    lines.extend(objects(&plan.objects));
    if !plan.tables_kept.is_empty() {
        let kept = plan.tables_kept.join(", ");
        lines.push(format!("kept         {kept} (the archive does not know them)"));
    }
    for files in &plan.filesystems {
        let bytes = output::bytes(files.bytes);
        lines.push(format!("files        {}: {} files, {bytes}", files.name, files.files));
        for folder in &files.replaced {
            let folder = if folder.is_empty() { "everything" } else { folder };
            lines.push(format!("  replaces   {folder}"));
        }
        match files.removed {
            Some(0) => {}
            Some(count) => lines.push(format!("  removes    {count} files that the archive lacks")),
            None if files.replaced.is_empty() => {}
            None => {
                lines.push("  removes    files that the archive lacks (not counted)".to_owned())
            }
        }
    }
    for index in &plan.indexes {
        let bytes = output::bytes(index.bytes);
        lines.push(match index.action {
            IndexAction::Replace => {
                format!("index        {}: replaced by {} files, {bytes}", index.name, index.files)
            }
            IndexAction::Rebuild => {
                format!("index        {}: emptied, the archive has none", index.name)
            }
        });
    }
    let free = plan
        .space_available
        .map_or_else(String::new, |free| format!(", {} are free", output::bytes(free)));
    lines.push(format!("space        {} needed{free}", output::bytes(plan.space_needed)));
    let time = HumanDuration(Duration::from_secs(plan.seconds));
    lines.push(format!("time         about {time}"));
    lines.extend(plan.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.extend(plan.problems.iter().map(|problem| format!("problem: {problem}")));
    lines
}

/// One line a table; numbers to the right.
fn tables(tables: &[TablePlan]) -> Vec<String> {
    let name = |table: &TablePlan| format!("{}.{}", table.database, table.name);
    let width = tables.iter().map(|table| name(table).chars().count()).max().unwrap_or(0);
    let row = |table: &TablePlan| {
        let action = match table.action {
            TableAction::Create => "creates",
            TableAction::Replace => "replaces",
        };
        let rows = table.rows.map_or_else(|| "?".to_owned(), |rows| rows.to_string());
        let bytes = output::bytes(table.bytes);
        format!("  {action:<9}  {:<width$}  {rows:>12} rows  {bytes:>12}", name(table))
    };
    let count = format!("tables       {}", tables.len());
    std::iter::once(count).chain(tables.iter().map(row)).collect()
}

/// One line a database and kind: there may be many, and most are as they were.
fn objects(objects: &[ObjectPlan]) -> Vec<String> {
    let mut counts: BTreeMap<(&str, &str), [usize; 2]> = BTreeMap::new();
    for object in objects {
        let counts = counts.entry((&object.database, &object.kind)).or_default();
        counts[usize::from(object.action == TableAction::Replace)] += 1;
    }
    let line = |((database, kind), [created, replaced]): ((&str, &str), [usize; 2])| {
        let kind = kind.replace('_', " ");
        format!("objects      {database}: {kind}: creates {created}, replaces {replaced}")
    };
    counts.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::restore::{FilesystemPlan, IndexPlan};

    #[test]
    fn everything_is_shown() {
        let table = |name: &str, rows, action| TablePlan {
            database: "main".to_owned(),
            name: name.to_owned(),
            rows,
            bytes: 2048,
            action,
        };
        let plan = RestorePlan {
            archive: "a.tar.gz".to_owned(),
            format: "framed".to_owned(),
            size: 1 << 20,
            dump: true,
            created_on: Some("2026-03-01T02:15:00Z".to_owned()),
            tables: vec![
                table("note", Some(7), TableAction::Replace),
                table("longer_name", None, TableAction::Create),
            ],
            objects: ["one", "two"]
                .map(|name| ObjectPlan {
                    database: "main".to_owned(),
                    kind: "package_body".to_owned(),
                    name: name.to_owned(),
                    action: TableAction::Replace,
                })
                .to_vec(),
            tables_kept: vec!["other".to_owned()],
            filesystems: vec![FilesystemPlan {
                name: "files".to_owned(),
                files: 3,
                bytes: 10,
                replaced: vec![String::new()],
                removed: Some(2),
            }],
            indexes: vec![IndexPlan {
                name: "search".to_owned(),
                action: IndexAction::Rebuild,
                files: 0,
                bytes: 0,
            }],
            space_needed: 100,
            space_available: Some(200),
            seconds: 90,
            verified: true,
            warnings: vec!["careful".to_owned()],
            problems: vec!["no".to_owned()],
            ..RestorePlan::default()
        };
        let lines = lines(&plan);
        assert!(lines[0].contains("a.tar.gz") && lines[0].contains("found whole"), "{}", lines[0]);
        assert_eq!(lines[1], "tables       2");
        assert_eq!(lines[2], "  replaces   main.note                    7 rows      2.00 KiB");
        assert_eq!(lines[3], "  creates    main.longer_name             ? rows      2.00 KiB");
        assert_eq!(lines[4], "objects      main: package body: creates 0, replaces 2");
        let text = lines.join("\n");
        for part in [
            "kept         other",
            "replaces   everything",
            "removes    2",
            "search: emptied",
            "200 B are free",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.ends_with("warning: careful\nproblem: no"), "{text}");
    }
}
