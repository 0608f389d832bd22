//! Reads a request's body: at most so many bytes, in at most so much time, and no more than there is room for.
//!
//! Nearly every body comes in one piece with its head. That piece is taken as it is, without a copy and without a timer.

use std::{sync::Arc, time::Duration};

use actix_web::{
    dev::Payload,
    web::{Bytes, BytesMut},
};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;

/// What has come of a body.
enum Body {
    /// Everything so far in one piece.
    Piece(Bytes),
    Pieces(BytesMut),
}

/// The whole body, and the room that it takes. What is only announced takes none, so that announcing costs nobody else
/// anything.
pub(super) async fn read(
    mut payload: Payload,
    limit: usize,
    patience: Duration,
    room: &Arc<Semaphore>,
) -> Result<(Bytes, OwnedSemaphorePermit), Refusal> {
    let mut held = take(room, 0)?;
    let mut body = Body::Piece(Bytes::new());
    // The pieces that came with the head are handed out when the connection goes on, which is now.
    tokio::task::yield_now().await;
    match body
        .gather(&mut payload, limit, room, &mut held)
        .now_or_never()
    {
        Some(gathered) => gathered?,
        None => tokio::time::timeout(patience, body.gather(&mut payload, limit, room, &mut held))
            .await
            .map_err(|_elapsed| Refusal::Incomplete)??,
    }
    let bytes = match body {
        Body::Piece(bytes) => bytes,
        Body::Pieces(bytes) => bytes.freeze(),
    };
    Ok((bytes, held))
}

/// Room for so many bytes, given back when it is dropped.
fn take(room: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
    let bytes = u32::try_from(bytes).map_err(|_full| Refusal::Overloaded)?;
    Arc::clone(room)
        .try_acquire_many_owned(bytes)
        .map_err(|_full| Refusal::Overloaded)
}

impl Body {
    /// Takes what comes until the end. Dropped in between, it has lost nothing.
    async fn gather(
        &mut self,
        payload: &mut Payload,
        limit: usize,
        room: &Arc<Semaphore>,
        held: &mut OwnedSemaphorePermit,
    ) -> Result<(), Refusal> {
        while let Some(piece) = payload.next().await {
            let piece = piece.map_err(|_gone| Refusal::Incomplete)?;
            if self.len() + piece.len() > limit {
                return Err(Refusal::TooLarge { limit });
            }
            held.merge(take(room, piece.len())?);
            self.add(piece);
        }
        Ok(())
    }

    fn len(&self) -> usize {
        match self {
            Self::Piece(bytes) => bytes.len(),
            Self::Pieces(bytes) => bytes.len(),
        }
    }

    fn add(&mut self, piece: Bytes) {
        match self {
            Self::Piece(first) if first.is_empty() => *first = piece,
            Self::Piece(first) => {
                let mut pieces = BytesMut::with_capacity(2 * (first.len() + piece.len()));
                pieces.extend_from_slice(first);
                pieces.extend_from_slice(&piece);
                *self = Self::Pieces(pieces);
            }
            Self::Pieces(pieces) => pieces.extend_from_slice(&piece),
        }
    }
}
