//! Bodies of our own API: strict, so that a misspelt member is an error and not a surprise.

use std::collections::BTreeMap;

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Payload;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::V1Error;
use crate::http::body;
use crate::http::docspace::bind::{STORAGE_TYPES, storage_type_named, storage_type_numbered};
use crate::storage::{StorageParams, StorageType};

/// Reads a JSON body.
pub async fn read<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: Payload,
) -> Result<T, V1Error> {
    let body = body::read(payload).await?;
    if !is_json(request) {
        return Err(V1Error::MediaType);
    }
    parse(&body)
}

/// Like `read`, and no body at all is the default.
pub async fn read_or_default<T: DeserializeOwned + Default>(
    request: &HttpRequest,
    payload: Payload,
) -> Result<T, V1Error> {
    let body = body::read(payload).await?;
    if body.is_empty() {
        return Ok(T::default());
    }
    if !is_json(request) {
        return Err(V1Error::MediaType);
    }
    parse(&body)
}

fn is_json(request: &HttpRequest) -> bool {
    let value = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = value.and_then(|value| value.split(';').next());
    media.is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
}

pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, V1Error> {
    // The members of a struct would also be read from an array, in their order.
    if body.trim_ascii_start().first().is_some_and(|&first| first == b'[') {
        return Err(V1Error::invalid("The body: it must be an object".to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| V1Error::invalid(format!("The body: {error}")))
}

/// A storage type as a name in any case, a number, or a number in quotes.
pub fn storage_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StorageType, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Number(i32),
        Text(String),
    }
    let known = match Form::deserialize(deserializer) {
        Ok(Form::Number(number)) => storage_type_numbered(number),
        Ok(Form::Text(text)) => storage_type_named(&text)
            .or_else(|| text.trim().parse().ok().and_then(storage_type_numbered)),
        Err(_) => None,
    };
    known.ok_or_else(|| {
        let names = STORAGE_TYPES.map(|(_, name)| name).join(", ");
        D::Error::custom(format!("storageType must be one of {names}"))
    })
}

/// An object whose values are text, numbers as they were written, or booleans.
pub fn storage_params<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<StorageParams, D::Error> {
    let members = Option::<BTreeMap<String, Box<RawValue>>>::deserialize(deserializer)?;
    let text = |(name, value): (String, Box<RawValue>)| {
        let raw = value.get();
        match raw.as_bytes().first() {
            Some(b'"') => serde_json::from_str(raw).map_err(D::Error::custom).map(|v| (name, v)),
            Some(b'n' | b'{' | b'[') => Err(D::Error::custom(format!(
                "storageParams.{name} must be text, a number or a boolean"
            ))),
            _ => Ok((name, raw.to_owned())),
        }
    };
    members.unwrap_or_default().into_iter().map(text).collect()
}
