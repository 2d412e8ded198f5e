//! The whole of it: a client, an API that demands, an authorization server that is asked over its own socket.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tower::{Layer as _, ServiceExt as _};
use tower_mfa::testing::{AuthorizationServer, Client, Endpoint, ProtectedApi, Signing, User};
use tower_mfa::{Auth0, Code, Factor, MfaLayer, SteppedUp, code_fn};

use crate::harness::{Protocol, over_http1_and_http2};

over_http1_and_http2! {
    #[guard = 30]
    a_refused_transfer_is_stepped_up_and_sent_again,
}

const TOTP_SECRET: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";

async fn a_refused_transfer_is_stepped_up_and_sent_again(protocol: Protocol) {
    for early in [true, false] {
        let server = AuthorizationServer::builder()
            .signing(Signing::Es256)
            .client(Client::public("example-client"))
            .user(User::new("alice", "test-password").totp(TOTP_SECRET))
            .build();
        let issuer = server.serve().await.unwrap();
        let api = ProtectedApi::new(&server).refuse_early(early);
        let serving = api.serve().await.unwrap();

        let person = server.clone();
        let codes = code_fn(move |_challenge| {
            let code = person.totp("alice").unwrap();
            async move { Ok(Code::new(code)) }
        });
        let layer = MfaLayer::new(Auth0::new(issuer.url(), "example-client").unwrap(), codes)
            .trust_origin(serving.url())
            .unwrap();
        let text = "x".repeat(20_000);
        let request = Request::post(format!("{}transfer?id=7", serving.url()))
            .header(
                AUTHORIZATION,
                format!("Bearer {}", server.access_token("alice")),
            )
            .header(CONTENT_TYPE, "text/plain")
            .body(Full::<Bytes>::from(text.clone()))
            .unwrap();
        let response = layer
            .layer(protocol.client())
            .oneshot(request)
            .await
            .unwrap();

        assert_eq!(response.status(), StatusCode::OK);
        let stepped_up: &SteppedUp = response.extensions().get().unwrap();
        assert_eq!(stepped_up.factor(), Some(Factor::Otp));
        let echoed = response.into_body().collect().await.unwrap().to_bytes();
        let echoed: serde_json::Value = serde_json::from_slice(&echoed).unwrap();
        assert_eq!(echoed["method"], "POST");
        assert_eq!(echoed["path"], "/transfer?id=7");
        assert!(echoed["body"] == text.as_str());
        assert_eq!((api.requests(), api.accepted()), (2, 1));
        assert_eq!(server.calls().count(Endpoint::Token), 1);
    }
}
