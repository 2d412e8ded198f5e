//! Every exchange of `tests/wire/auth0-cases.json` goes through the crate: put where it was recorded (the refusal, the list, the
//! challenge or the exchange), with everything around it scripted. Asserted is what is done *next*, and how it ends.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_mfa::body::ReplayBody;
use tower_mfa::transport::{RequestBody, Transport};
use tower_mfa::{
    Auth0, BoxError, Challenge, Code, CodeError, MfaLayer, StepUpError, SteppedUp, code_fn,
};

/// Where a case is put.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// The API's answer to the request.
    Refusal,
    /// `GET /mfa/authenticators`.
    List,
    /// `POST /mfa/challenge`, for a demand of this type.
    Challenge(&'static str),
    /// `POST /oauth/token`, for a demand of this type.
    Exchange(&'static str),
}
use Place::{Exchange, List, Refusal};

const OTP: &str = "otp";
const PUSH: &str = "push-notification";
const EMAIL: &str = "email";
const RECOVERY: &str = "recovery-code";

/// `(place, what is done next, how it ends)`, in the order of the file.
const EXPECTED: [(Place, &str, &str); 41] = [
    // enrolment is not what this crate does: such answers pass
    (Refusal, "end", "200"),
    (Refusal, "end", "200"),
    (Refusal, "end", "200"),
    (
        Place::Challenge(PUSH),
        "POST /oauth/token mfa-oob oob_code=mfa-token",
        "200 stepped_up",
    ),
    (Place::Challenge(OTP), "prompt otp 1", "200 stepped_up"),
    (Refusal, "end", "204"),
    (
        List,
        "POST /mfa/challenge oob email|dev_hdkmORJuqOmjRRQU",
        "200 stepped_up",
    ),
    (
        Exchange(PUSH),
        "POST /oauth/token mfa-oob oob_code=test-oob-code",
        "200 stepped_up",
    ),
    (Exchange(PUSH), "end", "403 rejected"),
    (
        Exchange(PUSH),
        "api Bearer test-access-token",
        "200 stepped_up",
    ),
    (
        Exchange(OTP),
        "api Bearer test-access-token",
        "200 stepped_up",
    ),
    (
        Exchange(RECOVERY),
        "api Bearer test-access-token",
        "200 stepped_up, new recovery code TESTRECOVERYCODE00000002",
    ),
    // demands
    (
        Refusal,
        "GET /mfa/authenticators Bearer Fe26...Ha",
        "200 stepped_up",
    ),
    (Refusal, "POST /mfa/challenge otp", "200 stepped_up"),
    (Refusal, "POST /mfa/challenge otp", "200 stepped_up"),
    (
        Refusal,
        "GET /mfa/authenticators Bearer <YOUR_MFA_TOKEN>",
        "200 stepped_up",
    ),
    (Refusal, "end", "400"),
    (
        Refusal,
        "GET /mfa/authenticators Bearer Fe26...Ha",
        "200 stepped_up",
    ),
    (Exchange(OTP), "end", "403 rate_limited"),
    (Exchange(OTP), "end", "403 configuration"),
    (Refusal, "POST /mfa/challenge otp", "200 stepped_up"),
    (Refusal, "end", "400"),
    // challenges
    (Place::Challenge(OTP), "prompt otp 1", "200 stepped_up"),
    (Place::Challenge(EMAIL), "prompt email 1", "200 stepped_up"),
    (
        Place::Challenge(PUSH),
        "POST /oauth/token mfa-oob oob_code=Fe26...jGco",
        "200 stepped_up",
    ),
    (Place::Challenge(EMAIL), "prompt email 1", "200 stepped_up"),
    (Place::Challenge(OTP), "end", "403 expired"),
    (Place::Challenge(OTP), "end", "403 unsupported_factor"),
    (Place::Challenge(OTP), "end", "403 expired"),
    (Place::Challenge(OTP), "end", "403 enrollment_required"),
    // exchanges
    (Exchange(EMAIL), "api Bearer eyJ...i", "200 stepped_up"),
    (
        Exchange(RECOVERY),
        "api Bearer eyJ...i",
        "200 stepped_up, new recovery code TESTRECOVERYCODE00000004",
    ),
    (Exchange(EMAIL), "POST /mfa/challenge oob", "200 stepped_up"),
    (Exchange(PUSH), "end", "403 other"),
    (Exchange(EMAIL), "end", "403 expired"),
    (
        Exchange(EMAIL),
        "prompt email 2 after Wrong",
        "200 stepped_up",
    ),
    (
        Exchange(PUSH),
        "POST /oauth/token mfa-oob oob_code=test-oob-code",
        "200 stepped_up",
    ),
    // lists
    (
        List,
        "POST /mfa/challenge otp totp|dev_gJ6Y6vpSrjnKeT67",
        "200 stepped_up",
    ),
    (
        List,
        "POST /mfa/challenge otp totp|dev_6NWz8awwC8brh2dN",
        "200 stepped_up",
    ),
    (
        List,
        "POST /mfa/challenge oob sms|dev_1MHoE3huPRB5dcDJ",
        "200 stepped_up",
    ),
    // a resource server's own words for it, without a handle
    (Refusal, "end", "403 missing_handle"),
];

/// The script of one run: the case is answered once, at its place; everything else is answered by rote.
#[derive(Clone)]
struct Script {
    place: Place,
    case: Arc<Value>,
    log: Arc<Mutex<Vec<String>>>,
    /// The length of the log when the case was answered.
    answered: Arc<Mutex<Option<usize>>>,
}

impl Script {
    fn log(&self, entry: String) {
        self.log.lock().unwrap().push(entry);
    }

    fn answer(&self, here: bool, by_rote: (u16, Value)) -> Response<Full<Bytes>> {
        let mut answered = self.answered.lock().unwrap();
        let (status, body) = if here && answered.is_none() {
            *answered = Some(self.log.lock().unwrap().len());
            // one answer has no status in its source; any 4xx will do
            (
                self.case["status"].as_u64().unwrap_or(400) as u16,
                self.case["body"].clone(),
            )
        } else {
            by_rote
        };
        let body = match &body {
            Value::String(text) => text.clone(),
            body => body.to_string(),
        };
        Response::builder()
            .status(status)
            .header("content-type", "application/json; charset=utf-8")
            .body(Full::from(body))
            .unwrap()
    }

    /// The demand that leads to the case's place.
    fn demand(&self) -> Value {
        let mut demand = json!({"error": "mfa_required", "mfa_token": "test-mfa-token"});
        if let Place::Challenge(kind) | Exchange(kind) = self.place {
            demand["mfa_requirements"] = json!({"challenge": [{"type": kind}]});
        }
        demand
    }

    async fn api(
        self,
        request: Request<ReplayBody<Full<Bytes>>>,
    ) -> Result<Response<Full<Bytes>>, BoxError> {
        let (head, body) = request.into_parts();
        assert_eq!(body.collect().await?.to_bytes(), "test body");
        let authorization = head.headers["authorization"].to_str()?.to_owned();
        let first = authorization == "Bearer test-first-token";
        self.log(format!("api {authorization}"));
        let rote = if first {
            (403, self.demand())
        } else {
            (200, json!("done"))
        };
        Ok(self.answer(self.place == Refusal && first, rote))
    }

    async fn server(
        self,
        request: Request<RequestBody>,
    ) -> Result<Response<Full<Bytes>>, BoxError> {
        let (head, body) = request.into_parts();
        let body = body.into_bytes();
        let parameters: Value = serde_json::from_slice(&body).unwrap_or_else(|_| {
            form_urlencoded::parse(&body)
                .map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
                .collect()
        });
        let text = |name: &str| parameters[name].as_str().unwrap_or_default().to_owned();
        Ok(match head.uri.path() {
            "/mfa/authenticators" => {
                self.log(format!(
                    "GET /mfa/authenticators {}",
                    head.headers["authorization"].to_str()?
                ));
                let rote =
                    json!([{"id": "totp|dev_test", "authenticator_type": "otp", "active": true}]);
                self.answer(self.place == List, (200, rote))
            }
            "/mfa/challenge" => {
                self.log(
                    format!(
                        "POST /mfa/challenge {} {}",
                        text("challenge_type"),
                        text("authenticator_id")
                    )
                    .trim_end()
                    .to_owned(),
                );
                let rote = match (text("challenge_type").as_str(), self.place) {
                    ("otp", _) => json!({"challenge_type": "otp"}),
                    (_, Exchange(PUSH)) => {
                        json!({"challenge_type": "oob", "oob_code": "test-oob-code"})
                    }
                    _ => {
                        json!({"challenge_type": "oob", "oob_code": "test-oob-code", "binding_method": "prompt"})
                    }
                };
                self.answer(matches!(self.place, Place::Challenge(_)), (200, rote))
            }
            "/oauth/token" => {
                let grant = text("grant_type").rsplit('/').next().unwrap().to_owned();
                let proof: Vec<_> = ["otp", "oob_code", "binding_code", "recovery_code"]
                    .into_iter()
                    .filter(|name| parameters.get(name).is_some())
                    .map(|name| format!(" {name}={}", text(name)))
                    .collect();
                self.log(format!("POST /oauth/token {grant}{}", proof.concat()));
                let rote = json!({"access_token": "test-access-token", "token_type": "Bearer", "expires_in": 600});
                self.answer(matches!(self.place, Exchange(_)), (200, rote))
            }
            other => panic!("nothing but the three endpoints is called, not {other}"),
        })
    }

    async fn code(self, challenge: Challenge) -> Result<Code, CodeError> {
        let after = challenge
            .last_rejection()
            .map(|why| format!(" after {why:?}"))
            .unwrap_or_default();
        self.log(format!(
            "prompt {} {}{after}",
            challenge.factor(),
            challenge.attempt()
        ));
        Ok(Code::new("123456"))
    }

    /// Runs the request; gives what came right after the case, and how it ended.
    async fn run(self) -> (String, String) {
        let server = self.clone();
        let transport = Transport::new(service_fn(move |request| server.clone().server(request)));
        let auth0 = Auth0::new("https://tenant.example.com/", "example-client")
            .unwrap()
            .transport(transport);
        let provider = self.clone();
        let layer = MfaLayer::new(
            auth0,
            code_fn(move |challenge| provider.clone().code(challenge)),
        );
        let api = self.clone();
        let service = layer.layer(service_fn(move |request| api.clone().api(request)));
        let request = Request::post("/transfer")
            .header("authorization", "Bearer test-first-token")
            .body(Full::from("test body"))
            .unwrap();
        let response = service.oneshot(request).await.unwrap();

        let mut end = response.status().as_u16().to_string();
        if let Some(error) = response.extensions().get::<StepUpError>() {
            end = format!("{end} {}", error.outcome());
        }
        if let Some(stepped_up) = response.extensions().get::<SteppedUp>() {
            end.push_str(" stepped_up");
            if let Some(code) = stepped_up.recovery_code() {
                end = format!("{end}, new recovery code {}", code.expose());
            }
        }
        if response.status() != StatusCode::OK
            || self.place == Refusal && !end.contains("stepped_up")
        {
            let expected = if self.place == Refusal {
                self.case["body"].clone()
            } else {
                self.demand()
            };
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let body = serde_json::from_slice(&body)
                .unwrap_or_else(|_| Value::String(String::from_utf8(body.to_vec()).unwrap()));
            assert_eq!(body, expected, "the refusal is handed back complete");
        }
        let answered = self
            .answered
            .lock()
            .unwrap()
            .expect("the case was asked for");
        let next = self.log.lock().unwrap().get(answered).cloned();
        (next.unwrap_or_else(|| "end".to_owned()), end)
    }
}

#[tokio::test(start_paused = true)]
async fn every_recorded_answer_is_understood() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("wire/auth0-cases.json")).unwrap();
    assert_eq!(
        cases.len(),
        EXPECTED.len(),
        "a new case needs an expectation"
    );
    for (number, (case, (place, next, end))) in cases.into_iter().zip(EXPECTED).enumerate() {
        let what = format!(
            "case {number}: {} {} {}",
            case["endpoint"], case["status"], case["body"]
        );
        let endpoint = case["endpoint"].as_str().unwrap();
        match place {
            List => assert_eq!(endpoint, "GET /mfa/authenticators", "{what}"),
            Place::Challenge(_) => assert_eq!(endpoint, "POST /mfa/challenge", "{what}"),
            Exchange(_) => assert_eq!(endpoint, "POST /oauth/token", "{what}"),
            // where demands come from, and everything that is not part of a step-up
            Refusal => {}
        }
        let script = Script {
            place,
            case: Arc::new(case),
            log: Arc::default(),
            answered: Arc::default(),
        };
        let done = script.run().await;
        assert_eq!((done.0.as_str(), done.1.as_str()), (next, end), "{what}");
    }
}
