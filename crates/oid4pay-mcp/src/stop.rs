//! Being asked to end, and how the calls that still run hear of it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use oid4pay::person::Ending;
use tokio::io::{AsyncRead, ReadBuf};

/// The wish of a person or a supervisor that the process ends.
pub(crate) struct StopSignal {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl StopSignal {
    /// Listens from now on.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?,
        })
    }

    /// Waits for it.
    pub(crate) async fn received(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// An input whose end is the end of the process.
pub(crate) struct EndingInput<R> {
    inner: R,
    ending: Ending,
}

impl<R> EndingInput<R> {
    pub(crate) fn new(inner: R, ending: Ending) -> Self {
        Self { inner, ending }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for EndingInput<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let has_room = buf.remaining() > 0;
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, buf));
        if read.is_err() || (has_room && buf.filled().len() == before) {
            self.ending.begin();
        }
        Poll::Ready(read)
    }
}
