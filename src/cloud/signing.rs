//! Signatures of requests whose address was changed after object_store had signed them.

use std::sync::{Arc, OnceLock, Weak};

use object_store::CredentialProvider;
use object_store::aws::{AmazonS3, AwsAuthorizer, AwsCredential};
use object_store::azure::{AzureAuthorizer, AzureCredential, MicrosoftAzure};
use object_store::client::HttpRequest;

const AUTHORIZATION: &str = "authorization";
const DIGEST: &str = "x-amz-content-sha256";

/// Who signs. Known only once the store is built, and not kept alive by this: the store owns its HTTP client.
#[derive(Debug, Clone, Default)]
pub struct Signing(Arc<OnceLock<Credentials>>);

#[derive(Debug)]
enum Credentials {
    S3(Weak<dyn CredentialProvider<Credential = AwsCredential>>),
    Azure(Weak<dyn CredentialProvider<Credential = AzureCredential>>),
}

#[derive(Debug, thiserror::Error)]
#[error("a request could not be signed: {0}")]
pub struct Unsigned(String);

impl Signing {
    pub fn s3(&self, store: &AmazonS3) {
        // It is set once, by whoever built the store.
        let _ = self.0.set(Credentials::S3(Arc::downgrade(store.credentials())));
    }

    pub fn azure(&self, store: &MicrosoftAzure) {
        let _ = self.0.set(Credentials::Azure(Arc::downgrade(store.credentials())));
    }

    /// Signs a request anew, in the way in which it is signed; one whose signature does not cover its address stays as
    /// it is (a bearer's token, a shared access signature, none at all).
    pub async fn renew(&self, request: &mut HttpRequest) -> Result<(), Unsigned> {
        let signed = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(signed) = signed.map(str::to_owned) else { return Ok(()) };
        let wrong = |error: &dyn std::fmt::Display| Unsigned(error.to_string());
        let gone = || Unsigned("its store is gone".to_owned());
        if let Some(scope) = signed.strip_prefix("AWS4-HMAC-SHA256 Credential=") {
            let Some(Credentials::S3(provider)) = self.0.get() else { return Err(gone()) };
            let credential = provider.upgrade().ok_or_else(gone)?.get_credential().await;
            let credential = credential.map_err(|error| wrong(&error))?;
            // `KEY/DATE/REGION/s3/aws4_request, SignedHeaders=…`
            let scope = scope.split(',').next().unwrap_or_default();
            let region = scope.rsplit('/').nth(2).ok_or_else(|| wrong(&"it has no region"))?;
            let digest = request.headers().get(DIGEST).and_then(|value| value.to_str().ok());
            let digest = digest.and_then(|digest| hex::decode(digest).ok());
            request.headers_mut().remove(AUTHORIZATION);
            return AwsAuthorizer::new(&credential, "s3", region)
                .with_sign_payload(digest.is_some())
                .try_authorize(request, digest.as_deref())
                .map_err(|error| wrong(&error));
        }
        if let Some((account, _)) =
            signed.strip_prefix("SharedKey ").and_then(|rest| rest.split_once(':'))
        {
            let Some(Credentials::Azure(provider)) = self.0.get() else { return Err(gone()) };
            let credential = provider.upgrade().ok_or_else(gone)?.get_credential().await;
            let credential = credential.map_err(|error| wrong(&error))?;
            request.headers_mut().remove(AUTHORIZATION);
            return AzureAuthorizer::new(&credential, account)
                .try_authorize(request)
                .map_err(|error| wrong(&error));
        }
        Ok(())
    }
}
