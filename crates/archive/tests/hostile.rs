//! Archives made to do harm are refused, with a text that says why.

mod common;

use archive::Format;
use bytes::Bytes;
use common::forge::{Forge, file, header, hex, member, padded, tail};
use common::*;
use futures::TryStreamExt;
use serde_json::{Value, json};

/// Verification must refuse it and say `why`; listing and reading must end.
async fn refused(bytes: &Bytes, why: &str) {
    let report = verify(bytes).await;
    let said = report.problems.join("\n");
    assert!(!report.ok(), "{:?}", report.warnings);
    assert!(said.contains(why), "{why:?} expected, said was {said:?}");
    if let Ok(archive) = open(bytes).await {
        let _ = archive.contents().try_for_each(|_| async { Ok(()) }).await;
    }
}

async fn forged(change: impl FnOnce(&mut Forge), why: &str) {
    let mut forge = Forge::new();
    forge.add("a", b"content of a").add("b", &text(5000, 1));
    change(&mut forge);
    refused(&forge.build(), why).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_archive_in_order_is_accepted() {
    let mut forge = Forge::new();
    forge.add("a", b"content of a").add("b", &text(5000, 1));
    let bytes = forge.build();
    let report = verify(&bytes).await;
    assert!(report.ok(), "{:?}", report.problems);
    assert_eq!((report.format, report.entries, report.frames), (Some(Format::Framed), 2, 2));
    let archive = open(&bytes).await.unwrap();
    assert_eq!(archive.info().unwrap().portal, "forged");
    assert_eq!(content(&archive, &archive.find("b").await.unwrap().unwrap()).await, text(5000, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_lead_outside() {
    for name in [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "C:/x",
        "a\\..\\x",
        "",
        "./x",
        "x/",
        "a//b",
        "manifest.json",
    ] {
        forged(
            |forge| {
                forge.add(name, b"x");
            },
            &format!("{name:?}"),
        )
        .await;
    }
    forged(
        |forge| {
            forge.add_as("a\0b", "a", b'0', b"x");
        },
        "NUL",
    )
    .await;
    // The manifest is innocent, the header is not.
    forged(
        |forge| {
            forge.add_as("x", "../x", b'0', b"x");
        },
        "../x",
    )
    .await;
    forged(
        |forge| {
            forge.add_as("x", "/x", b'0', b"x");
        },
        "\"/x\" has a name",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_not_what_the_manifest_says() {
    forged(
        |forge| {
            forge.add_as("x", "y", b'0', b"x");
        },
        "\"x\": its header",
    )
    .await;
    for (kind, why) in [
        (b'1', "a link"),
        (b'2', "a link"),
        (b'3', "a device"),
        (b'6', "a device"),
        (b'S', "not known"),
    ] {
        forged(
            |forge| {
                forge.add_as("x", "x", kind, b"");
            },
            why,
        )
        .await;
    }
    forged(
        |forge| {
            forge.add_as("x", "x", b'5', b"");
        },
        "\"x\": its header",
    )
    .await;
    forged(
        |forge| {
            forge.add("x", b"twelve bytes");
            forge.entries[2]["size"] = json!(11);
            forge.entries[2]["sha256"] = json!(hex(sha256(b"twelve byte")));
        },
        "\"x\": its header",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_there_twice() {
    forged(
        |forge| {
            forge.add("a", b"another");
        },
        "\"a\" is there twice",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_cannot_be() {
    type Change = fn(usize, &mut Value);
    let cases: [(Change, &str); 8] = [
        (|_, frame| frame["tarLength"] = json!(u32::MAX), "not as the format demands"),
        (|_, frame| frame["tarLength"] = json!((4 << 20) + 1), "not as the format demands"),
        (|_, frame| frame["tarLength"] = json!(0), "not as the format demands"),
        (|_, frame| frame["length"] = json!(u32::MAX), "not as the format demands"),
        (|index, frame| frame["offset"] = json!(index), "not as the format demands"),
        (|_, frame| frame["tarLength"] = json!(3 << 20), "into the manifest"),
        (|_, frame| frame["sha256"] = json!("0".repeat(64)), "its digest is not"),
        (|_, frame| frame["offset"] = json!(-1), "a list of the manifest"),
    ];
    for (change, why) in cases {
        forged(|forge| forge.frame_change = Some(change), why).await;
    }
    // A frame that unpacks to more than it says, and one with another behind it.
    forged(|forge| forge.frames[1].extend_from_slice(&[0; 512]), "does not list every entry").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_that_cannot_be() {
    type Change = fn(String) -> String;
    let cases: [(Change, &str); 9] = [
        (|_| String::new(), "cut off"),
        (|_| "{}\n".to_owned(), "does not begin as one"),
        (|text| text.replacen('1', "3", 1), "newer version"),
        (|text| text.replace("\n]}", "\n]}\n "), "goes on behind its end"),
        (
            |text| text.replace("\n],\"entries\":[\n", ",\n],\"entries\":[\n"),
            "a list of the manifest",
        ),
        (|text| text.replace("},\n{", "}\n{"), "a list of the manifest"),
        (|text| format!("{{{}", "[".repeat(100_000)) + &text, "first line"),
        (|_| "x".repeat(20 << 20), "too long"),
        (
            |text| {
                text.replace(
                    "\"path\":\"a\"",
                    &format!("\"path\":\"a\",\"x\":{}", "[".repeat(1000)),
                )
            },
            "a list of the manifest",
        ),
    ];
    for (change, why) in cases {
        forged(|forge| forge.text_change = Some(change), why).await;
    }
    let offsets: [fn(&mut Value); 7] = [
        |entry| entry["size"] = json!(u64::MAX),
        |entry| entry["tarOffset"] = json!(u64::MAX),
        |entry| entry["headerOffset"] = json!(1),
        |entry| entry["tarOffset"] = json!(1 << 20),
        |entry| entry["tarOffset"] = json!(513),
        |entry| drop(entry.as_object_mut().unwrap().remove("sha256")),
        |entry| entry["size"] = json!(1 << 20),
    ];
    for change in offsets {
        forged(|forge| change(&mut forge.entries[0]), "the entry \"a\"").await;
    }
    forged(|forge| drop(forge.entries.pop()), "does not list every entry").await;
    forged(|forge| forge.info = json!({"format": 1, "dump": "no"}), "first line").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tails_that_cannot_be() {
    for (offset, length, tar, whole) in [
        (u64::MAX, 1, 0, 0),
        (0, u64::MAX, 0, 0),
        (0, 0, 0, 0),
        (0, 100, 0, u64::MAX),
        (0, 100, u64::MAX, 0),
        (0, 100, 0, 512),
    ] {
        let bytes = [vec![0; 100], tail(offset, length, tar, whole, [0; 32])].concat();
        refused(&bytes.into(), "").await;
        assert!(
            open(&[vec![0; 100], tail(offset, length, tar, whole, [0; 32])].concat().into())
                .await
                .is_err()
        );
    }
}

/// Much out of little: streams through, in bounded memory, and is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_in_one_member() {
    let zeros = vec![0; 64 << 20];
    let one = member(&zeros);
    // Nothing but the end of a tar stream that does not end.
    refused(&one.clone().into(), "more zeros follow").await;
    let bytes: Bytes =
        [member(&[header(b"zeros", b'0', 62 << 20)].concat()), one.clone()].concat().into();
    refused(&bytes, "more zeros follow").await;
    let bytes: Bytes = [member(&header(b"zeros", b'0', 64 << 30)), one].concat().into();
    refused(&bytes, "cut off").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_names_and_kinds() {
    let end = vec![0; 1024];
    for (member, why) in [
        (file("../x", b'0', b"x"), "../x"),
        (file("a/../x", b'0', b"x"), "a/../x"),
        (file("a\\..\\x", b'0', b"x"), "x"),
        (file("//x", b'0', b"x"), "absolute"),
        (file("C:\\x", b'0', b"x"), "drive letter"),
        (file("x", b'S', b"x"), "not known"),
        (file("x", b'M', b"x"), "not known"),
        (file("x", b'2', b"x"), "without content"),
        (file("x", b'2', b""), "\"x\" is a link"),
        (file("x", b'1', b""), "\"x\" is a link"),
        ([file("././@LongLink", b'L', b"a\0/../b\0"), file("x", b'0', b"x")].concat(), "NUL"),
        (file("././@LongLink", b'L', b"x\0"), "without an entry"),
        (header(b"././@LongLink", b'L', 1 << 40), "a name of"),
        (padded([header(b"x", b'x', 4), b"junk".to_vec()].concat()), "PAX"),
        ([file("x", b'x', b"9 size=7\n"), file("x", b'0', b"x")].concat(), "two sizes"),
    ] {
        let tar = [member, end.clone()].concat();
        refused(&tar.clone().into(), why).await;
        refused(&self::member(&tar).into(), why).await;
    }
}
