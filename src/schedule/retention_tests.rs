use proptest::prelude::*;

use super::*;

const SCHEDULE: Uuid = Uuid::from_u128(7);
const OTHER: Uuid = Uuid::from_u128(8);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn item(number: u128, created: &str) -> Item {
    Item {
        id: Uuid::from_u128(1000 + number),
        created_on: at(created),
        expires_on: None,
        schedule: Some(SCHEDULE),
        parent: None,
        missing: false,
        held: None,
    }
}

fn policies(rules: Rules) -> BTreeMap<Uuid, Policy> {
    let zone = TimeZone::get("Europe/Paris").unwrap();
    BTreeMap::from([(SCHEDULE, Policy { rules, zone })])
}

fn removed(plan: &[Decision]) -> BTreeSet<u128> {
    let removed = plan.iter().filter(|decision| decision.action == Action::Remove);
    removed.map(|decision| decision.id.as_u128() - 1000).collect()
}

fn reasons(plan: &[Decision], number: u128) -> String {
    let found = plan.iter().find(|decision| decision.id == Uuid::from_u128(1000 + number));
    found.unwrap().reasons.join("; ")
}

#[test]
fn docspaces_rule_keeps_the_newest_scheduled() {
    // facts §9: "scheduled ones beyond backups_stored (1–30, default 1), newest kept; manual backups are
    // never trimmed".
    let mut items: Vec<Item> =
        (1..=5).map(|day| item(day, &format!("2026-06-0{day}T03:00:00Z"))).collect();
    items[0].schedule = None;
    let plan = plan(&items, &policies(Rules::stored(2)), at("2026-06-06T00:00:00Z"));
    assert_eq!(removed(&plan), BTreeSet::from([2, 3]));
    assert!(reasons(&plan, 5).contains("backupsStored: 1 of 2"));
    assert!(reasons(&plan, 1).contains("by hand"));
    assert_eq!(plan[0].id, Uuid::from_u128(1005), "newest first");
}

#[test]
fn temporary_archives_end_after_their_day() {
    // facts §9: "Cleaner soft-deletes … expired ones".
    let mut items = vec![item(1, "2026-06-01T03:00:00Z"), item(2, "2026-06-01T03:00:00Z")];
    for item in &mut items {
        item.schedule = None;
        item.expires_on = Some(at("2026-06-02T03:00:00Z"));
    }
    items[1].held = Some("a restore reads it".to_owned());
    let none = BTreeMap::new();
    assert!(removed(&plan(&items, &none, at("2026-06-02T02:59:59Z"))).is_empty());
    let late = plan(&items, &none, at("2026-06-02T03:00:00Z"));
    assert_eq!(removed(&late), BTreeSet::from([1]));
    assert!(reasons(&late, 1).contains("expired"));
    assert!(reasons(&late, 2).contains("restore reads"));
}

#[test]
fn grandfather_father_son() {
    // Two a day for 60 days.
    let mut items = Vec::new();
    let start = at("2026-01-01T03:00:00Z");
    for half_day in 0..120_u128 {
        let created = start + jiff::SignedDuration::from_hours(12 * half_day as i64);
        items.push(Item { created_on: created, ..item(half_day, "2026-01-01T00:00:00Z") });
    }
    let rules = Rules {
        keep_last: Some(1),
        keep_daily: Some(3),
        keep_weekly: Some(2),
        keep_monthly: Some(2),
        ..Rules::default()
    };
    let plan = plan(&items, &policies(rules), at("2026-03-02T00:00:00Z"));
    let kept: Vec<String> = plan
        .iter()
        .filter(|decision| decision.action == Action::Keep)
        .map(|decision| {
            let created = items.iter().find(|item| item.id == decision.id).unwrap().created_on;
            created.strftime("%m-%dT%H").to_string()
        })
        .collect();
    // 1 March 2026 is a Sunday, 22 February the one before; the last of February is the 28th.
    assert_eq!(kept, ["03-01T15", "02-28T15", "02-27T15", "02-22T15"]);
    assert!(reasons(&plan, 119).contains("keepMonthly: 2026-03 is 1 of 2"));
    assert!(reasons(&plan, 117).contains("keepMonthly: 2026-02 is 2 of 2"));
}

#[test]
fn the_last_one_stays_whatever_its_age() {
    let items = [item(1, "2020-01-01T00:00:00Z"), item(2, "2020-01-02T00:00:00Z")];
    let rules = Rules { keep_within: Some("30d".to_owned()), ..Rules::default() };
    let plan = plan(&items, &policies(rules), at("2026-01-01T00:00:00Z"));
    assert_eq!(removed(&plan), BTreeSet::from([1]));
    assert!(reasons(&plan, 2).contains("newest"));
}

#[test]
fn what_is_missing_neither_counts_nor_is_forgotten() {
    let mut items: Vec<Item> =
        (1..=3).map(|day| item(day, &format!("2026-06-0{day}T03:00:00Z"))).collect();
    items[2].missing = true;
    let plan = plan(&items, &policies(Rules::stored(1)), at("2026-06-06T00:00:00Z"));
    assert_eq!(removed(&plan), BTreeSet::from([1]), "the newest that exists is kept");
    assert!(reasons(&plan, 3).contains("gone"));
}

#[test]
fn parents_of_kept_archives_are_kept() {
    let mut items: Vec<Item> =
        (1..=4).map(|day| item(day, &format!("2026-06-0{day}T03:00:00Z"))).collect();
    items[3].parent = Some(items[2].id);
    items[2].parent = Some(items[0].id);
    // A circle is nonsense, and must not hang.
    items[0].parent = Some(items[3].id);
    let plan = plan(&items, &policies(Rules::stored(1)), at("2026-06-06T00:00:00Z"));
    assert_eq!(removed(&plan), BTreeSet::from([2]));
    assert!(reasons(&plan, 1).contains("builds on it"), "{}", reasons(&plan, 1));
}

#[test]
fn what_is_gone_needs_no_parents() {
    let mut items: Vec<Item> =
        (1..=4).map(|day| item(day, &format!("2026-06-0{day}T03:00:00Z"))).collect();
    items[1].parent = Some(items[0].id);
    items[1].missing = true;
    let rules = policies(Rules::stored(1));
    let now = at("2026-06-06T00:00:00Z");
    assert_eq!(removed(&plan(&items, &rules, now)), BTreeSet::from([1, 3]));
    // It may be brought back, and then what builds on it is whole again.
    items[3].parent = Some(items[1].id);
    assert_eq!(removed(&plan(&items, &rules, now)), BTreeSet::from([3]));
}

#[test]
fn rules_that_make_no_sense() {
    // facts §2: "backupsStored outside 1–30 → 400".
    for rules in [
        Rules::stored(0),
        Rules::stored(31),
        Rules { keep_daily: Some(0), ..Rules::default() },
        Rules { keep_within: Some("soon".to_owned()), ..Rules::default() },
        Rules { keep_within: Some("-3d".to_owned()), ..Rules::default() },
        Rules { keep_within: Some("0d".to_owned()), ..Rules::default() },
    ] {
        assert!(rules.check().is_err(), "{rules:?}");
    }
    for within in ["30d", "1y 6mo", "P1Y", "36h", "2 weeks"] {
        let rules = Rules { keep_within: Some(within.to_owned()), ..Rules::stored(30) };
        rules.check().unwrap_or_else(|error| panic!("{within}: {error}"));
    }
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let count = || proptest::option::weighted(0.3, 1_u32..6);
    (
        count(),
        count(),
        count(),
        count(),
        count(),
        count(),
        count(),
        proptest::option::weighted(0.2, 1_u32..90),
    )
        .prop_map(|(stored, last, hourly, daily, weekly, monthly, yearly, within)| Rules {
            backups_stored: stored,
            keep_last: last,
            keep_hourly: hourly,
            keep_daily: daily,
            keep_weekly: weekly,
            keep_monthly: monthly,
            keep_yearly: yearly,
            keep_within: within.map(|days| format!("{days}d")),
        })
}

fn any_items() -> impl Strategy<Value = Vec<Item>> {
    // Over two years from 2026, most of them some hours apart.
    let one = (0_i64..700 * 24, any::<u8>(), any::<prop::sample::Index>());
    proptest::collection::vec(one, 1..60).prop_map(|raw| {
        let ids: Vec<Uuid> = (0..raw.len()).map(|n| Uuid::from_u128(1000 + n as u128)).collect();
        let start = at("2026-01-01T00:00:00Z");
        raw.iter()
            .zip(&ids)
            .map(|((hours, kind, other), id)| Item {
                id: *id,
                created_on: start + jiff::SignedDuration::from_hours(*hours),
                expires_on: (kind % 11 == 0)
                    .then(|| start + jiff::SignedDuration::from_hours(hours + 24)),
                schedule: match kind % 5 {
                    0 => None,
                    1 => Some(OTHER),
                    _ => Some(SCHEDULE),
                },
                parent: (kind % 7 == 0).then(|| *other.get(&ids)),
                missing: kind % 13 == 0,
                held: (kind % 17 == 0).then(|| "held".to_owned()),
            })
            .collect()
    })
}

/// The rules one by one.
fn singles(rules: &Rules) -> Vec<Rules> {
    let none = Rules::default();
    vec![
        Rules { backups_stored: rules.backups_stored, ..none.clone() },
        Rules { keep_last: rules.keep_last, ..none.clone() },
        Rules { keep_hourly: rules.keep_hourly, ..none.clone() },
        Rules { keep_daily: rules.keep_daily, ..none.clone() },
        Rules { keep_weekly: rules.keep_weekly, ..none.clone() },
        Rules { keep_monthly: rules.keep_monthly, ..none.clone() },
        Rules { keep_yearly: rules.keep_yearly, ..none.clone() },
        Rules { keep_within: rules.keep_within.clone(), ..none },
    ]
    .into_iter()
    .filter(|rules| !rules.is_empty())
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_a_rule_keeps_is_removed(items in any_items(), rules in any_rules(), late in 0_i64..800) {
        let now = at("2026-01-01T00:00:00Z") + jiff::SignedDuration::from_hours(24 * late);
        let all = removed(&plan(&items, &policies(rules.clone()), now));
        for single in singles(&rules) {
            let one = removed(&plan(&items, &policies(single.clone()), now));
            prop_assert!(all.is_subset(&one), "{single:?} keeps {:?}", all.difference(&one));
        }
    }

    #[test]
    fn the_same_input_is_the_same_plan(items in any_items(), rules in any_rules()) {
        let now = at("2027-06-01T00:00:00Z");
        let policies = policies(rules);
        let forward = plan(&items, &policies, now);
        let mut backward = items.clone();
        backward.reverse();
        prop_assert_eq!(&forward, &plan(&backward, &policies, now));
        prop_assert_eq!(forward.len(), items.len());
        prop_assert!(forward.iter().all(|decision| !decision.reasons.is_empty()));
    }

    #[test]
    fn a_plan_carried_out_leaves_nothing_to_do(items in any_items(), rules in any_rules()) {
        let now = at("2027-06-01T00:00:00Z");
        let policies = policies(rules);
        let gone: BTreeSet<Uuid> = plan(&items, &policies, now)
            .into_iter()
            .filter(|decision| decision.action == Action::Remove)
            .map(|decision| decision.id)
            .collect();
        let left: Vec<Item> = items.iter().filter(|item| !gone.contains(&item.id)).cloned().collect();
        prop_assert!(removed(&plan(&left, &policies, now)).is_empty());
        for item in &items {
            let expired = item.expires_on.is_some_and(|expires| expires <= now);
            if gone.contains(&item.id) {
                prop_assert!(item.held.is_none());
                prop_assert!(item.schedule == Some(SCHEDULE) || expired, "manual: {item:?}");
            } else if let (Some(parent), false) = (item.parent, item.missing) {
                prop_assert!(!gone.contains(&parent), "{item:?} cannot be read any more");
            }
        }
        let scheduled = |items: &[Item]| items.iter().any(|item| {
            item.schedule == Some(SCHEDULE) && !item.missing && item.expires_on.is_none_or(|at| at > now)
        });
        prop_assert_eq!(scheduled(&items), scheduled(&left), "one of a schedule's always stays");
    }
}
