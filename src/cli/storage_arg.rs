//! A storage on the command line: by DocSpace's name of it in any case, its number, or as `custom-cloud`.

use std::str::FromStr;

use url::Url;

use crate::http::docspace::bind::{storage_type_named, storage_type_numbered};
use crate::storage::StorageType;

/// `--storage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorageArg(pub StorageType);

impl FromStr for StorageArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name: String = text.chars().filter(|c| !matches!(c, '-' | '_')).collect();
        let known = text.parse().ok().and_then(storage_type_numbered);
        known.or_else(|| storage_type_named(&name)).map(Self).ok_or_else(|| {
            "write local, custom-cloud, data-store, documents, thridparty-documents or \
             third-party-consumer"
                .to_owned()
        })
    }
}

/// Where archives are looked for: a storage, or the URL of a folder or prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceArg {
    Storage(StorageType),
    Url(Url),
}

impl FromStr for PlaceArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            return text.parse().map(Self::Url).map_err(|error| format!("{text}: {error}"));
        }
        text.parse().map(|StorageArg(kind)| Self::Storage(kind))
    }
}

/// `--param`.
pub fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storages_have_many_names() {
        for (text, kind) in [
            ("local", StorageType::Local),
            ("Local", StorageType::Local),
            ("3", StorageType::Local),
            ("CustomCloud", StorageType::CustomCloud),
            ("custom-cloud", StorageType::CustomCloud),
            ("customcloud", StorageType::CustomCloud),
            ("data_store", StorageType::DataStore),
            ("ThridpartyDocuments", StorageType::ThirdpartyDocuments),
            ("thridparty-documents", StorageType::ThirdpartyDocuments),
            ("third-party-consumer", StorageType::ThirdPartyConsumer),
            ("0", StorageType::Documents),
        ] {
            assert_eq!(text.parse(), Ok(StorageArg(kind)), "{text}");
            assert_eq!(text.parse(), Ok(PlaceArg::Storage(kind)), "{text}");
        }
        for text in ["", "6", "-1", "loc", "file:///backups"] {
            assert!(text.parse::<StorageArg>().unwrap_err().contains("custom-cloud"), "{text}");
        }
        let url = "file:///backups/weekly";
        assert_eq!(url.parse(), Ok(PlaceArg::Url(url.parse().unwrap())));
        assert!("s3 ://x".parse::<PlaceArg>().is_err());
    }
}
