//! Bodies as they pass: counted, watched for what must not leave, cleaned of what must not arrive. Nothing is kept whole.
//! A body that breaks a rule must end as an error on the wire, never as a shorter body.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;

use super::budget::Meter;
use super::headers;
use super::model_traffic::usage::Reader;
use super::scrub::{Scrub, Watch};
use super::ticket::Ticket;
use super::upstream::{Driver, Goal, Upstreams};

/// What a body's error is to hyper.
pub(super) type BodyError = Box<dyn Error + Send + Sync>;

/// A body on its way out.
pub(super) enum SentBody {
    /// Nothing.
    Empty,
    /// Bytes that were made here.
    Whole(Full<Bytes>),
    /// The agent's bytes as they come.
    Stream(Box<SentStream>),
}

/// The agent's bytes, counted and watched.
pub(super) struct SentStream {
    incoming: Incoming,
    meter: Arc<Meter>,
    /// Bytes that were counted before, because the length told.
    counted: u64,
    watch: Option<Watch>,
    attempt: Arc<AtomicBool>,
}

impl SentStream {
    /// `counted` bytes of it are on the meter already; `attempt` is set when `watch` finds something.
    pub(super) fn new(
        incoming: Incoming,
        meter: Arc<Meter>,
        counted: u64,
        watch: Option<Watch>,
        attempt: Arc<AtomicBool>,
    ) -> Self {
        Self {
            incoming,
            meter,
            counted,
            watch,
            attempt,
        }
    }

    fn pass(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        let mut frame = frame;
        if let Some(headers) = frame.trailers_mut() {
            headers::clean_trailers(headers);
            let bytes = headers::wire_bytes(headers);
            let found = self
                .watch
                .as_mut()
                .is_some_and(|watch| headers.values().any(|value| watch.found(value.as_bytes())));
            return self.allow(bytes, found).map(|()| frame);
        }
        if let Some(data) = frame.data_ref() {
            let bytes = data.len() as u64;
            let found = self.watch.as_mut().is_some_and(|watch| watch.found(data));
            let free = bytes.min(self.counted);
            self.counted -= free;
            return self.allow(bytes - free, found).map(|()| frame);
        }
        Ok(frame)
    }

    fn allow(&self, bytes: u64, found: bool) -> Result<(), BodyError> {
        if found {
            self.attempt.store(true, Ordering::Relaxed);
            return Err("a placeholder stands in the body".into());
        }
        if !self.meter.charge(bytes) {
            return Err("the upload budget is spent".into());
        }
        Ok(())
    }
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Whole(full) => Pin::new(full)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
            Self::Stream(stream) => {
                let frame = ready!(Pin::new(&mut stream.incoming).poll_frame(cx));
                Poll::Ready(match frame {
                    Some(Ok(frame)) => Some(stream.pass(frame)),
                    Some(Err(error)) => Some(Err(error.into())),
                    None => None,
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(full) => full.is_end_stream(),
            Self::Stream(stream) => stream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(full) => full.size_hint(),
            Self::Stream(stream) => stream.incoming.size_hint(),
        }
    }
}

/// The way of an upstream connection back into the pool, once its answer was read to the end.
pub(super) struct Lease {
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) goal: Goal,
    pub(super) sender: http1::SendRequest<SentBody>,
    pub(super) driver: Driver,
    pub(super) class: &'static str,
}

/// A body on its way to the agent.
pub(super) enum AnswerBody {
    /// Our own words.
    Own(Full<Bytes>),
    /// The other side's bytes as they come.
    Passed(Box<Passed>),
}

impl std::fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AnswerBody")
    }
}

/// The other side's bytes, counted, cleaned of secrets and, from a model, looked at for what they cost.
pub(super) struct Passed {
    pub(super) incoming: Incoming,
    pub(super) scrub: Option<Scrub>,
    pub(super) usage: Option<Reader>,
    pub(super) ticket: Ticket,
    pub(super) lease: Option<Lease>,
    pub(super) trailers: Option<hyper::HeaderMap>,
    /// What broke it, to be told next.
    pub(super) error: Option<hyper::Error>,
    pub(super) ended: bool,
}

impl Passed {
    pub(super) fn end(&mut self) {
        self.ended = true;
        self.ticket.finished();
        if let Some(usage) = self.usage.take().and_then(Reader::finish) {
            self.ticket.used(usage);
        }
        if let Some(lease) = self.lease.take() {
            let Lease {
                upstreams,
                goal,
                sender,
                driver,
                class,
            } = lease;
            upstreams.keep(goal, sender, driver, class);
        }
    }

    fn pass(&mut self, data: Bytes) -> Bytes {
        self.ticket.received(data.len() as u64);
        if let Some(usage) = &mut self.usage {
            usage.feed(&data);
        }
        match &mut self.scrub {
            Some(scrub) => scrub.feed(data),
            None => data,
        }
    }

    /// The next frame; the connection is driven for it.
    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.incoming).poll_frame(cx);
        let (Poll::Pending, Some(lease)) = (&frame, &mut self.lease) else {
            return frame;
        };
        lease.driver.poll(cx);
        Pin::new(&mut self.incoming).poll_frame(cx)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(trailers) = self.trailers.take() {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if let Some(error) = self.error.take() {
                self.ended = true;
                return Poll::Ready(Some(Err(error.into())));
            }
            let frame = match ready!(self.poll_incoming(cx)) {
                None => {
                    self.end();
                    match self.scrub.as_mut().map(Scrub::finish) {
                        Some(rest) if !rest.is_empty() => {
                            return Poll::Ready(Some(Ok(Frame::data(rest))));
                        }
                        Some(_) | None => continue,
                    }
                }
                Some(Err(error)) => {
                    self.ticket.broke("upstream-broke");
                    self.error = Some(error);
                    // What came before must be on its way first: an error throws away what is not written yet.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Ok(frame)) => frame,
            };
            match frame.into_data() {
                Ok(data) => {
                    let passed = self.pass(data);
                    if self.incoming.is_end_stream() && self.scrub.is_none() {
                        self.end();
                    }
                    if !passed.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(passed))));
                    }
                }
                Err(frame) => {
                    let mut trailers = frame.into_trailers().unwrap_or_default();
                    headers::clean_trailers(&mut trailers);
                    if let Some(scrub) = &mut self.scrub {
                        scrub.hide_in_headers(&mut trailers);
                        self.trailers = Some(trailers);
                        let rest = scrub.finish();
                        if !rest.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(rest))));
                        }
                    } else {
                        self.trailers = Some(trailers);
                    }
                }
            }
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Own(full) => Pin::new(full)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
            Self::Passed(passed) => passed.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(full) => full.is_end_stream(),
            Self::Passed(passed) => passed.ended && passed.trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(full) => full.size_hint(),
            Self::Passed(passed) => passed.incoming.size_hint(),
        }
    }
}
