//! object_store's errors, which are long chains with XML in them, in words for people.

use std::error::Error;

/// What went wrong with a request to a bucket, in words for people.
#[derive(Debug, Clone)]
pub struct Fault {
    pub kind: FaultKind,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    NotFound,
    Exists,
    Denied,
    Full,
    /// Later it may work.
    Unavailable,
    /// Nothing that the provider's answer explains.
    Other,
}

/// The codes of S3, Google's XML API and Azure that say something of their own.
enum Meaning {
    NoBucket,
    NotFound,
    Denied,
    Full,
    Busy,
    Region,
    Unknown,
}

/// Where it happened, for the text.
pub struct Context<'a> {
    pub bucket: &'a str,
    /// What was being done, with the archive's name: "cannot write x.tar.gz". Empty: whoever shows the
    /// text says so already.
    pub what: &'a str,
    pub secrets: &'a [String],
}

impl Context<'_> {
    pub fn explain(&self, error: &object_store::Error) -> Fault {
        use object_store::Error as E;
        let Self { bucket, what, .. } = self;
        let chain = chain(error);
        let code = code(&chain);
        let code = code.as_deref();
        let because = self.clean(&match (code, tag(&chain, "Message")) {
            (Some(code), Some(message)) => format!("{message} ({code})"),
            (Some(code), None) => code.to_owned(),
            _ => root(error),
        });
        let fault = |kind, text: String| {
            let text = match text.strip_prefix(": ") {
                Some(text) if what.is_empty() => text.to_owned(),
                _ => text,
            };
            Fault { kind, text }
        };
        let missing = || fault(FaultKind::NotFound, format!("{what}: it does not exist"));
        let denied = || {
            let text = format!("{what}: access to bucket {bucket:?} was denied: {because}");
            fault(FaultKind::Denied, text)
        };
        let elsewhere = |because: &str| {
            let text = format!(
                "{what}: bucket {bucket:?} is in another region than configured{because}; set \
                 the option region"
            );
            fault(FaultKind::Unavailable, text)
        };
        let full = |because: &str| {
            fault(FaultKind::Full, format!("{what}: no space left in the storage{because}"))
        };
        match meaning(code) {
            Meaning::NoBucket => {
                fault(FaultKind::NotFound, format!("bucket {bucket:?} does not exist"))
            }
            Meaning::NotFound => missing(),
            Meaning::Denied => denied(),
            Meaning::Full => full(&format!(": {because}")),
            Meaning::Busy => fault(
                FaultKind::Unavailable,
                format!("{what}: the storage is overloaded or out of order: {because}"),
            ),
            Meaning::Region => elsewhere(&format!(": {because}")),
            Meaning::Unknown => match error {
                E::NotFound { .. } => missing(),
                E::AlreadyExists { .. } => {
                    fault(FaultKind::Exists, format!("{what}: it exists already"))
                }
                E::PermissionDenied { .. } | E::Unauthenticated { .. } => denied(),
                _ if chain.contains("redirect without LOCATION") => elsewhere(""),
                _ if chain.contains(": 507 ") => full(""),
                _ if is_transport(&chain) => fault(
                    FaultKind::Unavailable,
                    format!("{what}: the storage of bucket {bucket:?} does not answer: {because}"),
                ),
                _ => fault(FaultKind::Other, format!("{what}: {because}")),
            },
        }
    }

    /// Without secrets and of a bearable length.
    fn clean(&self, text: &str) -> String {
        let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for secret in self.secrets {
            text = text.replace(secret.as_str(), "***");
        }
        if text.chars().count() > 300 {
            text = text.chars().take(300).chain(['…']).collect();
        }
        text
    }
}

/// Whether the storage's own code is this one.
pub fn has_code(error: &object_store::Error, code: &str) -> bool {
    self::code(&chain(error)).as_deref() == Some(code)
}

/// Whether this says that a server does not know conditional writes.
pub fn is_not_implemented(error: &object_store::Error) -> bool {
    use object_store::Error as E;
    matches!(error, E::NotImplemented { .. } | E::NotSupported { .. })
        || has_code(error, "NotImplemented")
}

fn meaning(code: Option<&str>) -> Meaning {
    match code.unwrap_or_default() {
        "NoSuchBucket" | "ContainerNotFound" => Meaning::NoBucket,
        "NoSuchKey" | "NoSuchUpload" | "BlobNotFound" => Meaning::NotFound,
        "AccessDenied"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "AccountProblem"
        | "AllAccessDisabled"
        | "NotSignedUp"
        | "RequestTimeTooSkewed"
        | "AuthenticationFailed"
        | "AuthorizationFailure"
        | "AuthorizationPermissionMismatch"
        | "AuthenticationRequired" => Meaning::Denied,
        "QuotaExceeded"
        | "XMinioStorageFull"
        | "InsufficientStorage"
        | "StorageQuotaExceeded"
        | "EntityTooLarge"
        | "XAmzStorageFull" => Meaning::Full,
        "SlowDown"
        | "ServiceUnavailable"
        | "InternalError"
        | "ServerBusy"
        | "RequestTimeout"
        | "OperationTimedOut"
        | "XMinioServerNotInitialized" => Meaning::Busy,
        "PermanentRedirect"
        | "AuthorizationHeaderMalformed"
        | "TemporaryRedirect"
        | "IllegalLocationConstraintException" => Meaning::Region,
        _ => Meaning::Unknown,
    }
}

fn chain(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// The innermost reason, which is the shortest and has no URL in it.
fn root(error: &object_store::Error) -> String {
    let mut last: &dyn Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    let text = last.to_string();
    match text.split_once("Server returned non-2xx status code: ") {
        Some((_, status)) => format!("status {}", status.trim_end_matches([':', ' '])),
        None => text,
    }
}

/// The storage's code for the error, as in XML or as object_store writes it for a failed deletion.
fn code(chain: &str) -> Option<String> {
    tag(chain, "Code").or_else(|| {
        let (_, rest) = chain.split_once("(code: ")?;
        Some(rest.split_once(')')?.0.to_owned())
    })
}

/// The text of an XML element.
fn tag(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    Some(inner.to_owned()).filter(|inner| !inner.is_empty())
}

fn is_transport(chain: &str) -> bool {
    const SIGNS: [&str; 7] = [
        "error sending request",
        "HTTP error",
        "error trying to connect",
        "operation timed out",
        "connection closed",
        "Connection reset",
        "error decoding response body",
    ];
    SIGNS.iter().any(|sign| chain.contains(sign))
        || [500, 502, 503, 504].iter().any(|code| chain.contains(&format!("status code: {code} ")))
}

/// Whether the bucket itself is missing.
pub fn is_no_bucket(error: &object_store::Error) -> bool {
    matches!(meaning(code(&chain(error)).as_deref()), Meaning::NoBucket)
}
