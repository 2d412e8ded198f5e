//! The two documents that keys are fetched from.

use std::borrow::Cow;

use http::{Method, Request, StatusCode, Uri, header};
use serde_json::Value;

use crate::error::ConfigError;
use crate::origin::secure_url;
use crate::transport::{RequestBody, Transport};

/// Why a fetch failed, in words for a log.
pub(super) type Failure = Cow<'static, str>;

/// Where an issuer's discovery document is (OpenID Connect Discovery 1.0 section 4).
pub(super) fn discovery_of(issuer: &str) -> Result<Uri, ConfigError> {
    let bad = |why: &str| {
        ConfigError::new(format!(
            "`{}` cannot be the issuer of discovered keys: {why}",
            issuer.escape_debug()
        ))
    };
    if issuer.contains(['?', '#']) {
        return Err(bad("it has a query or a fragment"));
    }
    let base = issuer.strip_suffix('/').unwrap_or(issuer);
    secure_url(&format!("{base}/.well-known/openid-configuration")).map_err(bad)
}

/// Asks the discovery document where the keys are.
pub(super) async fn discover(transport: &Transport, issuer: &str) -> Result<Uri, Failure> {
    let document = discovery_of(issuer).map_err(|error| error.to_string())?;
    let over_https = document.scheme_str() == Some("https");
    let document = get(transport, document, "discovery document").await?;
    // a document of somebody else's would bring somebody else's keys
    if document.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err("the discovery document is of another issuer; configure the issuer exactly as it is written there".into());
    }
    let jwks = document.get("jwks_uri").and_then(Value::as_str);
    let jwks = jwks.ok_or("the discovery document has no `jwks_uri`")?;
    let jwks = secure_url(jwks).map_err(|why| format!("its `jwks_uri` cannot be used: {why}"))?;
    if over_https && jwks.scheme_str() != Some("https") {
        return Err("its `jwks_uri` is plain http".into());
    }
    Ok(jwks)
}

/// Gets a JSON document.
pub(super) async fn get(transport: &Transport, url: Uri, what: &str) -> Result<Value, Failure> {
    let mut request = Request::new(RequestBody::default());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = url;
    let accept = header::HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::ACCEPT, accept);
    let answer = transport
        .send(request)
        .await
        .map_err(|error| format!("the {what} did not come: {error}"))?;
    if answer.status() != StatusCode::OK {
        let status = answer.status().as_u16();
        return Err(format!("the {what} was answered with status {status}").into());
    }
    serde_json::from_slice(answer.body())
        .map_err(|_| format!("the {what} is no well-formed JSON").into())
}
