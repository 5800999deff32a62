//! OData's addresses, as far as they are served: `/odata.svc/('Root')/NAME` and `/odata.svc/content(ID)/NAME`.

use percent_encoding::percent_decode_str;

/// The id of `/Root`, the same in every repository.
const ROOT: &str = "2";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Backup,
    Query,
    Cancel,
}

impl Operation {
    const ALL: [Self; 3] = [Self::Backup, Self::Query, Self::Cancel];

    pub fn name(self) -> &'static str {
        match self {
            Self::Backup => "BackupIndex",
            Self::Query => "QueryIndexBackup",
            Self::Cancel => "CancelIndexBackup",
        }
    }
}

/// What an address means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Operation(Operation),
    /// An operation that is not served, or of another content than `/Root`.
    Unknown(String),
    /// No OData address.
    Malformed,
    /// Something else of OData's.
    Nothing,
}

/// Reads the path of a request, as it was sent.
pub fn read(path: &str) -> Address {
    let Ok(path) = percent_decode_str(path).decode_utf8() else { return Address::Malformed };
    let mut parts = path.split('/').filter(|part| !part.is_empty()).skip(1);
    let (Some(content), operation, None) = (parts.next(), parts.next(), parts.next()) else {
        return Address::Nothing;
    };
    let Some((kind, rest)) = content.split_once('(') else { return Address::Nothing };
    let Some(key) = rest.strip_suffix(')') else { return Address::Malformed };
    let quoted = key.strip_prefix('\'').and_then(|key| key.strip_suffix('\''));
    let is_root = match (kind.to_ascii_lowercase().as_str(), quoted) {
        ("", Some(name)) => name.eq_ignore_ascii_case("root"),
        ("content", None) if !key.is_empty() && key.bytes().all(|b| b.is_ascii_digit()) => {
            key == ROOT
        }
        // Another content, by its path.
        (_, Some(name)) if !name.is_empty() => false,
        _ => return Address::Malformed,
    };
    let Some(name) = operation else { return Address::Nothing };
    let known = Operation::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(name));
    match known {
        Some(known) if is_root => Address::Operation(known),
        _ => Address::Unknown(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// B1: "`/odata.svc/('Root')/BackupIndex`", "`/odata.svc/content(ID)/…` with Root's id also works".
    #[test]
    fn addresses() {
        let backup = Address::Operation(Operation::Backup);
        for path in [
            "/odata.svc/('Root')/BackupIndex",
            "/odata.svc/(%27Root%27)/BackupIndex",
            "/odata.svc/%28%27Root%27%29/BackupIndex",
            "/odata.svc/content(2)/BackupIndex",
            "/odata.svc/Content(2)/backupindex/",
        ] {
            assert_eq!(read(path), backup, "{path}");
        }
        assert_eq!(
            read("/odata.svc/('Root')/QueryIndexBackup"),
            Address::Operation(Operation::Query)
        );
        for path in [
            "/odata.svc/('Root')/Delete",
            "/odata.svc/content(3)/BackupIndex",
            "/odata.svc/Root('IMS')/BackupIndex",
        ] {
            assert!(matches!(read(path), Address::Unknown(_)), "{path}");
        }
        for path in [
            "/odata.svc/('Root'/BackupIndex",
            "/odata.svc/content(x)/BackupIndex",
            "/odata.svc/()/x",
            "/odata.svc/%ff",
        ] {
            assert_eq!(read(path), Address::Malformed, "{path}");
        }
        for path in
            ["/odata.svc/", "/odata.svc/Root", "/odata.svc/('Root')", "/odata.svc/('Root')/a/b"]
        {
            assert_eq!(read(path), Address::Nothing, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_address_is_read(path in "(/odata\\.svc)?[/()'%a-zA-Z0-9]{0,40}") {
            read(&path);
        }
    }
}
