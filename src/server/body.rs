//! Reads a request's body: at most so many bytes, in at most so much time.
//!
//! Nearly every body comes in one piece with its head. That piece is taken as it is, without a copy and without a timer.

use std::time::Duration;

use actix_web::{
    dev::Payload,
    web::{Bytes, BytesMut},
};
use futures_util::{FutureExt as _, StreamExt as _};

use super::refusal::Refusal;

/// What has come of a body.
enum Body {
    /// Everything so far in one piece.
    Piece(Bytes),
    Pieces(BytesMut),
}

/// The whole body.
pub(super) async fn read(
    mut payload: Payload,
    limit: usize,
    patience: Duration,
) -> Result<Bytes, Refusal> {
    let mut body = Body::Piece(Bytes::new());
    // The pieces that came with the head are handed out when the connection goes on, which is now.
    tokio::task::yield_now().await;
    match body.gather(&mut payload, limit).now_or_never() {
        Some(gathered) => gathered?,
        None => tokio::time::timeout(patience, body.gather(&mut payload, limit))
            .await
            .map_err(|_elapsed| Refusal::Incomplete)??,
    }
    Ok(match body {
        Body::Piece(bytes) => bytes,
        Body::Pieces(bytes) => bytes.freeze(),
    })
}

impl Body {
    /// Takes what comes until the end. Dropped in between, it has lost nothing.
    async fn gather(&mut self, payload: &mut Payload, limit: usize) -> Result<(), Refusal> {
        while let Some(piece) = payload.next().await {
            let piece = piece.map_err(|_gone| Refusal::Incomplete)?;
            if self.len() + piece.len() > limit {
                return Err(Refusal::TooLarge { limit });
            }
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
