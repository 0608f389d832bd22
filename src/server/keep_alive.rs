//! Who keeps a connection: the sender of something genuine. Any other answer is the connection's last.
//!
//! The listener's own settings say how many connections there may be and how long a head may take. Two things are left to
//! us: requests that were sent on in the same breath would each be answered, to whoever never reads an answer too; and what
//! is left of a chunked body would be read on for as long as its sender likes.

use std::{
    any::Any,
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    sync::atomic::{AtomicBool, Ordering},
    task::Poll,
};

use actix_web::{
    Error, HttpMessage as _, HttpResponse,
    body::{BoxBody, MessageBody as _, SizedStream},
    dev::{Extensions, Payload, ServiceRequest, ServiceResponse},
    http::{ConnectionType, Method},
    middleware::Next,
    web::Bytes,
};
use futures_util::stream::{self, Stream as _};

/// Whether a connection's last answer was given.
#[derive(Debug, Default)]
struct Spent(AtomicBool);

/// Marks a connection as it comes in.
pub(super) fn on_connect(_stream: &dyn Any, data: &mut Extensions) {
    data.insert(Spent::default());
}

/// Answers, and lets only a webhook that was let in have another request on the same connection.
pub(super) async fn genuine_only(
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    if let Some(Spent(spent)) = request.conn_data::<Spent>()
        && spent.load(Ordering::Relaxed)
    {
        return Ok(request.into_response(cut()));
    }
    let unread = request
        .chunked()
        .unwrap_or(true)
        .then(|| share(&mut request));
    let mut response = next.call(request).await?;
    if response.request().method() != Method::POST || !response.status().is_success() {
        let head = response.response_mut().head_mut();
        head.set_connection_type(ConnectionType::Close);
        if let Some(Spent(spent)) = response.request().conn_data::<Spent>() {
            spent.store(true, Ordering::Relaxed);
        }
    }
    Ok(match unread {
        Some(unread) => response.map_body(|_, body| holding(body, unread)),
        None => response,
    })
}

/// An answer that cannot be sent: the connection ends at once, without it.
fn cut() -> HttpResponse {
    let gone = Err::<Bytes, _>(io::ErrorKind::ConnectionAborted.into());
    HttpResponse::Ok().streaming::<_, io::Error>(stream::iter([gone]))
}

/// The body of a request, for the handler and for us.
fn share(request: &mut ServiceRequest) -> Rc<RefCell<Payload>> {
    let body = Rc::new(RefCell::new(request.take_payload()));
    let shared = Rc::clone(&body);
    request.set_payload(Payload::Stream {
        payload: Box::pin(stream::poll_fn(move |context| {
            Pin::new(&mut *shared.borrow_mut()).poll_next(context)
        })),
    });
    body
}

/// The answer, with the request's body held until it is sent. A chunked body that nobody holds is one that actix reads to its
/// end; if there is one.
fn holding(answer: BoxBody, unread: Rc<RefCell<Payload>>) -> BoxBody {
    // Every answer of the public listener is a word or nothing.
    let word = answer.try_into_bytes().unwrap_or_default();
    let length = word.len() as u64;
    let mut word = Some(word)
        .filter(|word| !word.is_empty())
        .map(Ok::<_, io::Error>);
    let sending = stream::poll_fn(move |_| {
        let _held = &unread;
        Poll::Ready(word.take())
    });
    SizedStream::new(length, sending).boxed()
}
