//! Requests, from their arrival to their end.

use authgate::host::StreamId;
use authgate::metrics::Outcome;
use authgate::{Code, Report, RequestHead, Resolution, Step, lend};

use super::credentials::{Credential, Kind};
use super::script::{Place, Presented};
use super::setup::ORIGIN;
use super::state::{Cause, State, Stream};
use super::world::{JWTS, Machine};
use super::{denial, forward, shadow, throttle};

impl Machine {
    /// The number of a credential, which may be new.
    fn numbered(&mut self, credential: Credential) -> usize {
        let known = self.credentials.iter().position(|known| known.authorization == credential.authorization);
        known.unwrap_or_else(|| {
            self.credentials.push(credential);
            self.credentials.len() - 1
        })
    }

    fn present(&mut self, presented: &Presented) -> (Vec<Vec<u8>>, Option<usize>) {
        let credential = match presented {
            Presented::Nothing => return (Vec::new(), None),
            Presented::Two => return (vec![b"Basic 1".to_vec(), b"Basic 1".to_vec()], None),
            Presented::Bytes(bytes) => match String::from_utf8(bytes.clone()) {
                Ok(authorization) => {
                    self.numbered(Credential { authorization, kind: Kind::Other, token_id: None, own: None })
                }
                Err(_) => return (vec![bytes.clone()], None),
            },
            Presented::Jwt(slot) => self.jwts[usize::from(*slot) % JWTS],
            Presented::ApiToken(number) => self.numbered(Credential::api_token(1 + usize::from(*number))),
            Presented::Other(number) => self.numbered(Credential::other(usize::from(*number))),
        };
        (vec![self.credentials[credential].authorization.clone().into_bytes()], Some(credential))
    }

    pub(super) fn request(
        &mut self,
        worker: u8,
        presented: &Presented,
        place: Place,
        is_grpc: bool,
        is_preflight: bool,
        address: u8,
    ) {
        let worker = usize::from(worker) % self.workers.len();
        let (values, credential) = self.present(presented);
        let (mut headers, is_bare) = (headers(place, is_grpc, is_preflight), values.is_empty());
        let authorization = match &values[..] {
            [value] => String::from_utf8(value.clone()).ok(),
            _ => None,
        };
        headers.extend(values.into_iter().map(|value| ("authorization".to_owned(), value)));
        let stream = StreamId::try_from(self.streams.len()).expect("few streams");
        let (address, connection) =
            [(Some("192.0.2.1:1"), Some(1)), (Some("192.0.2.2:2"), Some(2)), (None, None)][usize::from(address) % 3];
        *self.host.process.address.borrow_mut() = address.map(str::to_owned);
        self.host.process.connection.set(connection);
        let (state, arrived) = (State::Waiting, self.moment());
        let arrival = Stream {
            worker,
            place,
            is_preflight,
            is_grpc,
            credential,
            is_bare,
            authorization,
            address,
            state,
            arrived,
            ended: None,
            refused: None,
        };
        let is_known = forward::is_known(self, &arrival, self.setups[worker].cache().0);
        self.streams.push(arrival);
        let head = RequestHead { headers: &lend(&headers), has_body: false };
        let wall = self.wall();
        let reception = self.workers[worker].on_request(stream, &head, &self.host.at(self.now, wall));
        assert_eq!(reception.strip, ["x-user-id"], "what the client may not say of itself");
        self.note_signatures();
        match reception.step {
            Step::Resolve(resolution) => self.resolved(worker, stream, &resolution, &reception.report),
            Step::Wait => assert_eq!((reception.report.outcome, reception.report.reason), (Outcome::Cancelled, None)),
        }
        self.carry_out(worker, Cause::Request(stream), None);
        assert!(!is_known || self.streams[stream as usize].state != State::Waiting, "a hit has to wait");
    }

    pub(super) fn end(&mut self, which: usize) {
        if self.streams.is_empty() {
            return;
        }
        let number = which % self.streams.len();
        let stream = &mut self.streams[number];
        if stream.state == State::Lost {
            return;
        }
        if stream.state == State::Waiting {
            stream.state = State::Gone;
            *self.counted.entry((Outcome::Cancelled, None)).or_default() += 1;
        }
        let worker = stream.worker;
        self.workers[worker].on_end(number as StreamId, &self.host);
        assert_eq!(self.workers[worker].next_action(), None, "an end asks for nothing");
    }

    pub(super) fn resolved(&mut self, worker: usize, number: StreamId, resolution: &Resolution, report: &Report) {
        self.trace(format_args!("    stream {number} at {worker}: {resolution:?}, {:?}", report.reason));
        let stream = &self.streams[number as usize];
        assert_eq!((stream.worker, stream.state), (worker, State::Waiting), "{number} is resolved: {resolution:?}");
        let counted = match resolution {
            Resolution::Forward(forwarded) => match report.reason {
                None => (forward::check(self, stream, forwarded), None),
                Some(code) => (shadow::check(self, stream, code, forwarded), Some(code)),
            },
            Resolution::Serve(page) => panic!("{page:?} although nothing is served"),
            Resolution::Deny(response) => {
                denial::check(self, stream, response);
                let outcome = if response.code.status() < 500 { Outcome::Deny } else { Outcome::Error };
                (outcome, Some(response.code))
            }
        };
        shadow::check_report(stream, report, counted);
        // Also in shadow mode.
        if report.reason == Some(Code::SignatureInvalid)
            && let Some(credential) = stream.credential
        {
            self.forged.push((worker, credential, self.keys.asked()));
        }
        if let Some(code) = report.reason {
            if throttle::is_guess(code) && !denial::is_for_header(self, stream, code) {
                self.guessed(number as usize, code);
            } else if code == Code::TooManyFailures {
                self.locked(number as usize);
            }
        }
        *self.counted.entry(counted).or_default() += 1;
        let ended = Some(self.moment().step);
        let stream = &mut self.streams[number as usize];
        (stream.state, stream.ended) = (State::Resolved, ended);
    }
}

/// The headers of a request to a place, without its credential.
fn headers(place: Place, is_grpc: bool, is_preflight: bool) -> Vec<(String, Vec<u8>)> {
    let method = if is_preflight { "OPTIONS" } else { "GET" };
    let mut headers = vec![
        (":path".to_owned(), place.path().as_bytes().to_vec()),
        (":method".to_owned(), method.as_bytes().to_vec()),
        (":authority".to_owned(), b"gateway.example".to_vec()),
        // A forged identity.
        ("x-user-id".to_owned(), b"1".to_vec()),
    ];
    if is_preflight {
        headers.push(("origin".to_owned(), ORIGIN.as_bytes().to_vec()));
        headers.push(("access-control-request-method".to_owned(), b"PUT".to_vec()));
    }
    if is_grpc {
        headers.push(("content-type".to_owned(), b"application/grpc".to_vec()));
    }
    headers
}
