//! An end that lets the last answer arrive.
//!
//! A socket that is closed with bytes in it that nobody has read is reset, and the other side loses what it has not
//! read: whoever sent too much would never see the 413 that says so. So what is still coming in when we are done is
//! thrown away for a moment (RFC 9112, 9.6).

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// How long that is, for those who go on sending.
const MOMENT: Duration = Duration::from_secs(2);

/// A socket that is closed so.
pub struct Lingering {
    stream: TcpStream,
    answered: bool,
    until: Option<Pin<Box<Sleep>>>,
}

impl From<TcpStream> for Lingering {
    fn from(stream: TcpStream) -> Self {
        Self { stream, answered: false, until: None }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.answered {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.answered = true;
        }
        loop {
            let mut bytes = [MaybeUninit::uninit(); 4096];
            let mut bytes = ReadBuf::uninit(&mut bytes);
            match (Pin::new(&mut self.stream).poll_read(cx, &mut bytes), &mut self.until) {
                (Poll::Ready(Ok(())), until) if !bytes.filled().is_empty() => {
                    let until = until.get_or_insert_with(|| Box::pin(sleep(MOMENT)));
                    if until.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Ok(()));
                    }
                }
                // More may be on its way. Nothing so far means that nothing is: a connection that was idle.
                (Poll::Pending, Some(until)) => return until.as_mut().poll(cx).map(Ok),
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}
