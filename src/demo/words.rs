//! Names and prose in several languages.

use super::random::Random;

pub(super) const FIRST_NAMES: &[&str] = &[
    "Anna",
    "Björn",
    "Chloé",
    "Дмитрий",
    "Elena",
    "Farid",
    "Giulia",
    "花子",
    "Igor",
    "João",
    "Katarzyna",
    "Lars",
    "María",
    "Nguyễn",
    "Ольга",
    "Pierre",
    "Søren",
    "Tomáš",
    "Yasemin",
    "小明",
];
pub(super) const LAST_NAMES: &[&str] = &[
    "Andersson",
    "Bauer",
    "Çelik",
    "Dubois",
    "Esposito",
    "Fernández",
    "Gonçalves",
    "Horváth",
    "Иванова",
    "Jensen",
    "Kowalski",
    "Lindqvist",
    "Müller",
    "Nováková",
    "O'Brien",
    "Петров",
    "Rossi",
    "Schmidt",
    "田中",
    "王",
];
pub(super) const FOLDERS: &[&str] = &[
    "Accounting",
    "Verträge",
    "Ressources humaines",
    "Marketing",
    "Проекты",
    "営業部",
    "Clientes",
    "Legal",
    "Årsredovisning",
    "المحاسبة",
    "Sales & Partners",
    "技术文档",
];
pub(super) const SUBFOLDERS: &[&str] = &[
    "2023",
    "2024",
    "2025",
    "Archive",
    "Entwürfe",
    "Входящие",
    "Réunions",
    "草稿",
    "Final",
    "Q1",
    "Q2",
    "Q3",
    "Q4",
    "Photos",
];
pub(super) const TITLES: &[&str] = &[
    "Annual report",
    "Rechnung",
    "Compte rendu",
    "Договор аренды",
    "会議議事録",
    "Presupuesto",
    "Meeting notes",
    "Angebot",
    "Plan stratégique",
    "Отчёт за квартал",
    "Offer letter",
    "Reisekosten",
    "Contrat de travail",
    "Смета",
    "项目计划",
    "Factura",
    "Team photo",
    "Onboarding",
];

const ENGLISH: &str = "the report shows that revenue for this quarter grew faster than planned while \
    costs stayed under control and our customers asked for better support in the new offices please \
    review attached contract before Friday so we can sign it with both partners next week meeting \
    notes include open questions about budget travel hiring security training delivery invoices payment \
    schedule department manager project deadline agreement version draft final approval document team \
    every second branch should check inventory lists twice until audit ends without further remarks";
const GERMAN: &str = "die Abteilung prüft derzeit alle Rechnungen für das laufende Geschäftsjahr und bittet \
    um Rückmeldung bis Ende der Woche weil der Vertrag sonst nicht rechtzeitig verlängert werden kann \
    Kunden erhalten ein neues Angebot über größere Mengen sowie Lieferzeiten Bestätigung Übersicht \
    Besprechung Protokoll Haushalt Planung Genehmigung Unterschrift Anlage Entwurf Änderung zwischen";
const FRENCH: &str = "le comité a validé la nouvelle procédure concernant les congés et demande à chaque \
    service de préparer son budget avant la réunion générale où seront présentés résultats dépenses \
    prévisions effectifs contrats fournisseurs échéances règlement intérieur pièce jointe dès réception";
const RUSSIAN: &str = "в этом квартале отдел продаж выполнил план и подготовил отчёт для руководства договор \
    с поставщиком необходимо подписать до конца месяца чтобы бухгалтерия успела провести оплату \
    приложение содержит смету список участников проекта сроки согласования новые правила доступа";
const JAPANESE: &str = "今月の 売上は 前年を 上回り 担当者は 契約書を 確認して ください 会議の 資料を 添付します \
    予算の 承認は 来週の 月曜日 までに お願い いたします 出張 報告書 新しい 規則 顧客 からの 問い合わせ";
const LANGUAGES: &[&str] = &[ENGLISH, ENGLISH, ENGLISH, GERMAN, FRENCH, RUSSIAN, JAPANESE];

/// Writes sentences of one language.
pub(super) struct Prose(Vec<&'static str>);

impl Prose {
    pub(super) fn any(random: &mut Random) -> Self {
        Self(random.pick(LANGUAGES).split_whitespace().collect())
    }

    /// Adds sentences until `text` is `length` bytes long, then cuts it there, between two characters.
    pub(super) fn fill(&self, random: &mut Random, text: &mut String, length: usize) {
        let mut words_left = 0;
        while text.len() < length {
            if words_left == 0 {
                words_left = random.between(5, 18);
            }
            words_left -= 1;
            match random.chance(25) {
                true => push_rare_word(random, text),
                false => text.push_str(random.pick::<&str>(&self.0)),
            }
            match words_left {
                0 if random.chance(25) => {
                    // Real documents are full of figures, which compress less than words.
                    text.push_str(&format!(" ({:.2}).\n", random.below(10_000_000) as f64 / 100.0));
                }
                0 => text.push_str(". "),
                _ => text.push(' '),
            }
        }
        let mut end = length.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }

    pub(super) fn text(random: &mut Random, length: usize) -> String {
        let mut text = String::with_capacity(length + 32);
        Self::any(random).fill(random, &mut text, length);
        text
    }
}

/// A word that nobody used before: names, terms and misspellings keep real prose from compressing
/// as well as a short list of words would.
fn push_rare_word(random: &mut Random, text: &mut String) {
    const SYLLABLES: &[&str] = &[
        "ba", "cor", "de", "el", "fin", "gra", "hol", "in", "ju", "kra", "li", "mon", "na", "or",
        "pre", "qui", "ra", "sto", "ti", "un", "ver", "wa", "xen", "yl", "zu", "ment", "tion",
        "keit", "ova", "sen",
    ];
    for _ in 0..random.between(2, 4) {
        text.push_str(random.pick::<&str>(SYLLABLES));
    }
}

pub(super) fn person(random: &mut Random) -> String {
    format!("{} {}", random.pick(FIRST_NAMES), random.pick(LAST_NAMES))
}
