//! The callouts of one worker: their numbers, and what each is for. Also the filter's other actions.

use std::collections::VecDeque;

use super::{Action, CallId, Resolution};
use crate::host::{Cx, StreamId};
use crate::introspection::{CalloutRequest, MAX_BODY};
use crate::keys::Fetch;
use crate::limits::MAX_CALLOUTS;
use crate::map::IdMap;
use crate::metrics::Gauge;
use crate::questions;
use crate::report::Report;
use crate::revocation::Poll;
use crate::revocation::feed::MAX_FEED_BODY;

/// What a callout is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// A question about a credential.
    Verify(questions::Call),
    /// The public key.
    Key(Fetch),
    /// The revocation list.
    Feed(Poll),
}

/// What is under way, and what the shell is to do next.
#[derive(Debug, Default)]
pub(super) struct Callouts {
    under_way: IdMap<u64, Purpose>,
    next: u64,
    to_send: VecDeque<(CallId, CalloutRequest)>,
    resolved: VecDeque<(StreamId, Resolution, Report)>,
}

impl Callouts {
    /// Has the shell send a request.
    pub(super) fn send(&mut self, request: CalloutRequest, purpose: Purpose, cx: &Cx<'_>) {
        let call = CallId(self.next);
        self.next += 1;
        self.under_way.insert(call.0, purpose);
        self.to_send.push_back((call, request));
        cx.host.shift(Gauge::CalloutsInFlight, 1);
    }

    /// A callout has ended. `None`: it isn't under way.
    pub(super) fn end(&mut self, call: CallId, cx: &Cx<'_>) -> Option<Purpose> {
        let purpose = self.under_way.remove(&call.0)?;
        cx.host.shift(Gauge::CalloutsInFlight, -1);
        Some(purpose)
    }

    /// Ends all callouts: their answers will not come.
    pub(super) fn end_all(&mut self, cx: &Cx<'_>) -> Vec<Purpose> {
        self.to_send.clear();
        let calls: Vec<_> = self.under_way.iter().map(|(call, _)| *call).collect();
        calls.into_iter().filter_map(|call| self.end(CallId(call), cx)).collect()
    }

    /// The most bytes of an answer that are read.
    pub(super) fn body_limit(&self, call: CallId) -> usize {
        if matches!(self.under_way.get(&call.0), Some(Purpose::Feed(_))) { MAX_FEED_BODY } else { MAX_BODY }
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    /// How many of these the shell has yet to send.
    pub(super) fn unsent(&self) -> usize {
        self.to_send.len()
    }

    /// Whether there is room for another.
    pub(super) fn has_room(&self) -> bool {
        self.len() < MAX_CALLOUTS
    }

    /// Whether there is room for a callout that no request waits for. Half of the room is left to the others.
    pub(super) fn has_room_to_refresh(&self) -> bool {
        self.len() < MAX_CALLOUTS / 2
    }

    /// Has the shell end the wait of a request.
    pub(super) fn resolve(&mut self, stream: StreamId, resolution: Resolution, report: Report) {
        self.resolved.push_back((stream, resolution, report));
    }

    /// A stream has ended: drops its resolution if that isn't carried out yet.
    pub(super) fn forget(&mut self, stream: StreamId) {
        self.resolved.retain(|(ended, ..)| *ended != stream);
    }

    /// What the shell is to do next: callouts first.
    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.next_callout().or_else(|| self.next_resolution())
    }

    /// The next resolution.
    pub(super) fn next_resolution(&mut self) -> Option<Action> {
        self.resolved.pop_front().map(resolve)
    }

    /// The next callout, or the resolution of this stream.
    pub(super) fn next_action_within(&mut self, stream: StreamId) -> Option<Action> {
        self.next_callout().or_else(|| {
            let index = self.resolved.iter().position(|(resolved, ..)| *resolved == stream)?;
            self.resolved.remove(index).map(resolve)
        })
    }

    fn next_callout(&mut self) -> Option<Action> {
        self.to_send.pop_front().map(|(call, request)| Action::Callout { call, request })
    }

    /// Whether there is anything to do.
    pub(super) fn has_actions(&self) -> bool {
        !self.to_send.is_empty() || !self.resolved.is_empty()
    }
}

fn resolve((stream, resolution, report): (StreamId, Resolution, Report)) -> Action {
    Action::Resolve { stream, resolution, report }
}
