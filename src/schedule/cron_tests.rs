use super::*;

fn cron(text: &str) -> Cron {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn next(text: &str, after: &str) -> String {
    let after: Zoned = after.parse().unwrap();
    let zone = after.time_zone().clone();
    let next = cron(text).next_after(after.timestamp(), &zone).unwrap();
    Zoned::new(next, zone).to_string()
}

#[test]
fn weekday_1_is_sunday() {
    // facts §9: "weekly `0 0 H ? * D` … weekly D 1–7 with 1 = Sunday".
    // 1 March 2026 is a Sunday.
    let from = "2026-02-25T12:00:00[Europe/Paris]";
    assert_eq!(next("0 0 3 ? * 1", from), "2026-03-01T03:00:00+01:00[Europe/Paris]");
    assert_eq!(next("0 0 3 ? * 7", from), "2026-02-28T03:00:00+01:00[Europe/Paris]");
    assert_eq!(next("0 0 3 ? * SUN", from), next("0 0 3 ? * 1", from));
}

#[test]
fn months_that_lack_the_day_are_skipped() {
    // facts §9: "monthly 1–31, months lacking the day are skipped".
    let cron = cron("0 0 4 31 * ?");
    let zone = TimeZone::UTC;
    let mut at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut days = Vec::new();
    for _ in 0..7 {
        at = cron.next_after(at, &zone).unwrap();
        days.push(at.strftime("%m-%d").to_string());
    }
    assert_eq!(days, ["01-31", "03-31", "05-31", "07-31", "08-31", "10-31", "12-31"]);
}

#[test]
fn the_clocks_change() {
    // Forward on 29 March 2026 from 2 to 3, back on 25 October from 3 to 2.
    let daily = "0 30 2 ? * *";
    assert_eq!(
        next(daily, "2026-03-28T12:00:00[Europe/Paris]"),
        "2026-03-29T03:00:00+02:00[Europe/Paris]"
    );
    assert_eq!(
        next(daily, "2026-03-29T12:00:00[Europe/Paris]"),
        "2026-03-30T02:30:00+02:00[Europe/Paris]"
    );
    let first = next(daily, "2026-10-24T12:00:00[Europe/Paris]");
    assert_eq!(first, "2026-10-25T02:30:00+02:00[Europe/Paris]");
    assert_eq!(next(daily, &first), "2026-10-26T02:30:00+01:00[Europe/Paris]", "once that day");
}

/// Issue 5, scope 2: "right across daylight-saving changes", whichever way the hours are named.
#[test]
fn the_clocks_change_for_lists_ranges_and_steps_too() {
    for (text, from, expected) in [
        // Left out: right after the change, once.
        (
            "0 0 2,14 ? * *",
            "2026-03-28T14:00:00[Europe/Paris]",
            ["2026-03-29T03:00:00+02:00", "2026-03-29T14:00:00+02:00"],
        ),
        (
            "0 0/20 2 ? * *",
            "2026-03-28T02:40:00[Europe/Paris]",
            ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"],
        ),
        (
            "0 0 0/2 ? * *",
            "2026-03-29T00:00:00[Europe/Paris]",
            ["2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"],
        ),
        // Repeated: the first time only.
        (
            "0 30 1-3 ? * *",
            "2026-10-25T01:30:00[Europe/Paris]",
            ["2026-10-25T02:30:00+02:00", "2026-10-25T03:30:00+01:00"],
        ),
        (
            "0 0,30 2 L * ?",
            "2026-09-30T02:30:00[Europe/Paris]",
            ["2026-10-31T02:00:00+01:00", "2026-10-31T02:30:00+01:00"],
        ),
        // Half an hour, and midnight.
        (
            "0 0,15 2,3 ? * *",
            "2026-10-04T01:00:00[Australia/Lord_Howe]",
            ["2026-10-04T02:30:00+11:00", "2026-10-04T03:00:00+11:00"],
        ),
        (
            "0 0 0,12 ? * *",
            "2026-04-23T12:00:00[Africa/Cairo]",
            ["2026-04-24T01:00:00+03:00", "2026-04-24T12:00:00+03:00"],
        ),
        // Every hour is an hour after the one before.
        (
            "0 30 * ? * *",
            "2026-10-25T02:30:00+02:00[Europe/Paris]",
            ["2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00+01:00"],
        ),
        (
            "0 30 0-23 ? * *",
            "2026-03-29T01:30:00[Europe/Paris]",
            ["2026-03-29T03:30:00+02:00", "2026-03-29T04:30:00+02:00"],
        ),
    ] {
        let mut at: Zoned = from.parse().unwrap();
        let zone = at.time_zone().clone();
        let found = [(); 2].map(|()| {
            let next = cron(text).next_after(at.timestamp(), &zone).unwrap();
            at = Zoned::new(next, zone.clone());
            at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
        });
        assert_eq!(found, expected, "{text}");
    }
    // While the clock shows a quarter of an hour again, started anew.
    let again = next("0 0/15 2 ? * *", "2026-10-25T02:10:00+01:00[Europe/Paris]");
    assert_eq!(again, "2026-10-26T02:00:00+01:00[Europe/Paris]");
}

#[test]
fn quartz_words() {
    let from = "2026-02-25T12:00:00[UTC]";
    for (text, expected) in [
        ("0 0 3 L * ?", "2026-02-28T03:00:00+00:00[UTC]"),
        ("0 0 3 ? * 6L", "2026-02-27T03:00:00+00:00[UTC]"),
        ("0 0 3 ? * 2#1", "2026-03-02T03:00:00+00:00[UTC]"),
        ("0 0/15 * * * ?", "2026-02-25T12:15:00+00:00[UTC]"),
        ("0 0 3 29 2 ?", "2028-02-29T03:00:00+00:00[UTC]"),
        ("0 0 3 1 1 ? 2030", "2030-01-01T03:00:00+00:00[UTC]"),
        ("0 0 3 ? JAN-MAR MON-FRI", "2026-02-26T03:00:00+00:00[UTC]"),
        // The last Saturday before is 21 February.
        ("0 0 3 ? * L", "2026-02-28T03:00:00+00:00[UTC]"),
        ("0 0 3 ? * fril", "2026-02-27T03:00:00+00:00[UTC]"),
        ("0 0 3 ? * 2#5", "2026-03-30T03:00:00+00:00[UTC]"),
        ("0 0 3 ? apr tue#1", "2026-04-07T03:00:00+00:00[UTC]"),
        ("0 0 3 ? * Fri-Mon", "2026-02-27T03:00:00+00:00[UTC]"),
        ("0 0 3 ? * sat-sun", "2026-02-28T03:00:00+00:00[UTC]"),
        ("0 0 22-6 * * ?", "2026-02-25T22:00:00+00:00[UTC]"),
        ("0 0 3 1 nov-feb ?", "2026-11-01T03:00:00+00:00[UTC]"),
        ("0 0 3 1 1 ? 2028-2030/2", "2028-01-01T03:00:00+00:00[UTC]"),
        ("0 0 3 1/10 * ?", "2026-03-01T03:00:00+00:00[UTC]"),
    ] {
        assert_eq!(next(text, from), expected, "{text}");
    }
}

/// The months of 2026 by the calendar: 31 January is a Saturday, 28 February a Saturday, 31 March a Tuesday,
/// 30 April a Thursday, 31 May a Sunday, 30 June a Tuesday.
#[test]
fn days_from_the_end_and_nearest_weekdays() {
    for (text, expected) in [
        ("0 0 4 L * ?", ["01-31", "02-28", "03-31", "04-30", "05-31"]),
        ("0 0 4 LW * ?", ["01-30", "02-27", "03-31", "04-30", "05-29"]),
        ("0 0 4 L-3 * ?", ["01-28", "02-25", "03-28", "04-27", "05-28"]),
        // 28 March is a Saturday.
        ("0 0 4 L-3W * ?", ["01-28", "02-25", "03-27", "04-27", "05-28"]),
        // 15 February and 15 March are Sundays.
        ("0 0 4 15W * ?", ["01-15", "02-16", "03-16", "04-15", "05-15"]),
        // 1 February and 1 March are Sundays; 1 August is a Saturday.
        ("0 0 4 1W 1-3,8,9 ?", ["01-01", "02-02", "03-02", "08-03", "09-01"]),
        // 31 January is a Saturday, 31 May a Sunday and the last day.
        ("0 0 4 31W * ?", ["01-30", "03-31", "05-29", "07-31", "08-31"]),
        ("0 0 4 1,L-30 * ?", ["01-01", "02-01", "03-01", "04-01", "05-01"]),
    ] {
        let cron = cron(text);
        let mut at: Timestamp = "2025-12-31T12:00:00Z".parse().unwrap();
        let mut days = Vec::new();
        for _ in 0..5 {
            at = cron.next_after(at, &TimeZone::UTC).unwrap();
            days.push(at.strftime("%m-%d").to_string());
        }
        assert_eq!(days, expected, "{text}");
    }
    // Each second of a day that is not the one must not be looked at.
    let rare = next("* * * L-28 2 ?", "2026-02-25T12:00:00[UTC]");
    assert_eq!(rare, "2028-02-01T00:00:00+00:00[UTC]");
}

#[test]
fn nonsense_is_refused() {
    for (text, error) in [
        ("", CronError::Fields(0)),
        ("0 3 * * *", CronError::Fields(5)),
        ("0 0 3 ? * * * *", CronError::Fields(8)),
        ("0 0 3 * * *", CronError::BothDays),
        ("0 0 3 ? * ?", CronError::BothDays),
        ("0 0 3 1 * MON", CronError::BothDays),
    ] {
        assert_eq!(text.parse::<Cron>().unwrap_err(), error, "{text}");
    }
    for text in [
        "0 0 24 ? * *",
        "0 60 3 ? * *",
        "60 0 3 ? * *",
        "0 0 3 32 * ?",
        "0 0 3 0 * ?",
        "0 0 3 ? * 0",
        "0 0 3 ? * 8",
        "0 0 3 ? 13 *",
        "@daily 0 0 ? * *",
        "0 0 3 ? * +MON",
        "0 0 x ? * *",
        "0 0 3 L-31 * ?",
        "0 0 3 W * ?",
        "0 0 3 ? * 2#6",
        "0 0 3 1 1 ? 2030-2026",
    ] {
        let error = text.parse::<Cron>().unwrap_err();
        assert!(matches!(error, CronError::Syntax(_)), "{text}: {error:?}");
    }
    assert_eq!("0".repeat(200).parse::<Cron>().unwrap_err(), CronError::Long);
}

#[test]
fn what_never_comes_is_refused() {
    let now: Timestamp = "2026-02-25T12:00:00Z".parse().unwrap();
    for text in
        ["0 0 3 30 2 ?", "0 0 3 31 4 ?", "0 0 3 1 1 ? 2020", "0 0 3 L-30 2 ?", "0 0 3 31W 4 ?"]
    {
        let error = cron(text).must_come(now, &TimeZone::UTC).unwrap_err();
        assert!(matches!(error, CronError::Never(_)), "{text}");
    }
}
