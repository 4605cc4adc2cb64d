//! Another kind of service that verifies credentials: OAuth 2.0 Token Introspection (RFC 7662).

use serde_json::{Value, json as value};

use super::{Answer, Ending, World, api_token, claims};
use crate::claims::Claims;
use crate::credential::Credential;
use crate::filter::Filter;
use crate::introspection::{CalloutRequest, CalloutResponse, Confirmed, Destination, Outage, Verdict, Verifier};
use crate::json;

/// `POST /introspect`, which answers 200 for every token and says in the body whether it is active.
#[derive(Debug)]
struct TokenIntrospection;

impl Verifier for TokenIntrospection {
    fn question(&self, credential: &Credential<'_>) -> CalloutRequest {
        CalloutRequest {
            to: Destination::AuthService,
            forwarded: Vec::new(),
            method: "POST",
            path: "/introspect".to_owned(),
            headers: vec![("content-type", "application/x-www-form-urlencoded".to_owned())],
            body: Some(format!("token={}", credential.text().replace('$', "%24")).into_bytes()),
        }
    }

    fn verdict(&self, answer: CalloutResponse) -> Result<Verdict, Outage> {
        let body = match (answer.status, answer.body) {
            (200, Some(body)) => body,
            (200, None) => return Err(Outage::TooLarge),
            (status, _) => return Err(Outage::Status(status)),
        };
        let (is_active, claims) = json::parse(&body, |reader| {
            let (mut is_active, mut claims) = (None, None);
            reader.object(&mut |reader, name| {
                match name {
                    "active" => is_active = Some(reader.flag()?),
                    "claims" => claims = Some(Claims::read(reader)?),
                    _ => reader.skip()?,
                }
                Some(())
            })?;
            Some((reader.required(is_active, "missing field `active`")?, claims))
        })?;
        match (is_active, claims) {
            (false, _) => Ok(Verdict::Rejected),
            (true, None) => Err(Outage::Missing("claims")),
            (true, Some(claims)) => Ok(Verdict::Identity(Confirmed::new(claims.in_range()?))),
        }
    }
}

fn world() -> World {
    let mut world = World::new(value!({"auth_service": {"cluster": "auth", "retries": 0}}));
    world.tick();
    world.settle();
    let config = world.workers[0].config().clone();
    world.workers[0] = Filter::with_verifier(config, Box::new(TokenIntrospection));
    world
}

/// How a request with the API token ends if its question is answered like this.
fn ask(world: &mut World, answer: &Value) -> Ending {
    let stream = world.send(&api_token());
    let pending = world.pending.iter().find(|pending| pending.request.path == "/introspect").cloned().unwrap();
    assert_eq!(pending.request.method, "POST");
    assert_eq!(pending.request.body.as_deref(), Some(format!("token=7%24{}", "a".repeat(128)).as_bytes()));
    world.answer(&pending, &Answer::json(answer));
    world.ending(stream).unwrap()
}

#[test]
fn an_active_token_is_accepted_and_cached() {
    let mut world = world();
    let mut confirmed = claims();
    confirmed["token_type"] = value!("api_token");
    assert_eq!(ask(&mut world, &value!({"active": true, "claims": confirmed})).code(), "");
    assert_eq!(world.ask(&api_token()).code(), "", "the cache knows it");
}

#[test]
fn an_inactive_token_is_rejected_and_an_unreadable_answer_is_an_outage() {
    assert_eq!(ask(&mut world(), &value!({"active": false})).code(), "token_rejected");
    assert_eq!(ask(&mut world(), &value!({"active": "yes"})).code(), "auth_service_unavailable");
}
