//! Query strings and path parts as ASP.NET binds them: names in any case, the first value counts.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::bind::BindError;

/// `?dump=`: None when it is absent.
pub fn dump(query: &str) -> Result<Option<bool>, BindError> {
    flag(query, "Dump")
}

/// A parameter that is true or false: None when it is absent.
pub fn flag(query: &str, name: &str) -> Result<Option<bool>, BindError> {
    let Some(value) = first(query, name) else { return Ok(None) };
    match value.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(Some(true)),
        "false" => Ok(Some(false)),
        _ => {
            let value: String = value.chars().take(60).collect();
            let message =
                format!("The value '{value}' is not valid for {name}: send true or false.");
            Err(BindError::Invalid { field: name.to_owned(), message })
        }
    }
}

/// `?fields=a,b`: which members of the result are wanted, in lower case. None: all.
pub fn fields(query: &str) -> Option<BTreeSet<String>> {
    let value = first(query, "fields")?;
    let names = value.split(',').map(|name| name.trim().to_ascii_lowercase());
    let names: BTreeSet<String> = names.filter(|name| !name.is_empty()).collect();
    (!names.is_empty()).then_some(names)
}

/// The first value of a parameter, in any case of its name.
pub fn first(query: &str, name: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.into_owned())
}

/// A GUID in the forms that .NET reads: `D`, `N`, `B` and `P`.
pub fn guid(text: &str) -> Option<Uuid> {
    let bare = match text.as_bytes() {
        [b'{', .., b'}'] | [b'(', .., b')'] => {
            text.get(1..text.len() - 1).filter(|inner| inner.contains('-'))?
        }
        _ => text,
    };
    let only_hex = bare.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if only_hex { Uuid::try_parse(bare).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dump_in_every_form() {
        assert_eq!(dump(""), Ok(None));
        assert_eq!(dump("x=1&dumps=1"), Ok(None));
        for query in ["dump=true", "Dump=True", "DUMP=TRUE&dump=x", "a=b&dump=%20true+"] {
            assert_eq!(dump(query), Ok(Some(true)), "{query}");
        }
        assert_eq!(dump("Dump=False"), Ok(Some(false)));
        for query in ["dump=1", "dump=", "dump", "dump=0", "dump=yes", "dump=&dump=true"] {
            assert!(matches!(dump(query), Err(BindError::Invalid { .. })), "{query}");
        }
    }

    #[test]
    fn wanted_fields() {
        assert_eq!(fields("dump=true"), None);
        assert_eq!(fields("fields="), None);
        let some = fields("Fields=id,%20fileName").unwrap();
        assert_eq!(some, ["id", "filename"].map(str::to_owned).into());
    }

    #[test]
    fn guids() {
        let id = "0f3c8b0a-7a52-4f0e-9d0c-3a1b5e6f7a8b";
        let plain = id.replace('-', "");
        for form in [
            id.to_owned(),
            id.to_uppercase(),
            plain.clone(),
            format!("{{{id}}}"),
            format!("({id})"),
        ] {
            assert_eq!(guid(&form).map(|id| id.to_string()).as_deref(), Some(id), "{form}");
        }
        let urn = format!("urn:uuid:{id}");
        for bad in ["", "1", "x", urn.as_str(), &id[1..], &format!("{{{plain}}}"), "é", "{}"] {
            assert_eq!(guid(bad), None, "{bad}");
        }
    }
}
