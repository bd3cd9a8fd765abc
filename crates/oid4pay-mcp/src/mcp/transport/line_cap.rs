//! A cap on the length of a line, told to whoever goes over it.
//!
//! rmcp drops a line that is too long and says nothing, so its sender would wait for ever. Here its rest is dropped too, but
//! in its place stands a line that is no message, which rmcp answers with the JSON-RPC error "Invalid request".

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// What is read from `inner`, with lines of at most `most` octets and their end.
pub(crate) struct LineCap<R> {
    inner: R,
    most: usize,
    /// Of the line that is being read.
    length: usize,
    /// Read from `inner` and changed, but not yet handed on; empty as long as no line is too long.
    changed: Vec<u8>,
    handed_on: usize,
}

impl<R> LineCap<R> {
    pub(crate) fn new(inner: R, most: usize) -> Self {
        Self { inner, most, length: 0, changed: Vec::new(), handed_on: 0 }
    }

    /// Whether `octets`, which come next, go on a line that is too long already or make one.
    fn is_too_long(&self, octets: &[u8]) -> bool {
        let mut length = self.length;
        octets.split_inclusive(|octet| *octet == b'\n').any(|run| {
            length += run.len();
            let over = length > self.most;
            if run.ends_with(b"\n") {
                length = 0;
            }
            over
        })
    }

    /// Takes in the next octets; what is too much of a line is left out.
    fn take(&mut self, octets: &[u8]) {
        for run in octets.split_inclusive(|octet| *octet == b'\n') {
            let is_end = run.ends_with(b"\n");
            let room = self.most.saturating_sub(self.length);
            self.length = self.length.saturating_add(run.len());
            match (self.length > self.most, is_end) {
                (false, _) => self.changed.extend_from_slice(run),
                (true, false) => self.changed.extend_from_slice(run.get(..room).unwrap_or(run)),
                (true, true) => self.changed.extend_from_slice(NO_MESSAGE),
            }
            if is_end {
                self.length = 0;
            }
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for LineCap<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let left = self.changed.get(self.handed_on..).unwrap_or_default();
            if !left.is_empty() {
                let part = left.get(..left.len().min(buf.remaining())).unwrap_or(left);
                buf.put_slice(part);
                self.handed_on += part.len();
                return Poll::Ready(Ok(()));
            }
            self.changed.clear();
            self.handed_on = 0;
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
            let read = buf.filled().get(before..).unwrap_or_default();
            if read.is_empty() || !self.is_too_long(read) {
                self.length = match read.iter().rposition(|octet| *octet == b'\n') {
                    Some(at) => read.len() - at - 1,
                    None => self.length + read.len(),
                };
                return Poll::Ready(Ok(()));
            }
            let read = read.to_vec();
            buf.set_filled(before);
            self.take(&read);
        }
    }
}

/// Ends what there is of the line, which is JSON cut short, and puts another in its place.
const NO_MESSAGE: &[u8] = b"\n0\n";

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, BufReader};

    use super::*;

    /// What comes out for `input`, read so many octets at a time.
    async fn capped(input: &[u8], at_a_time: usize) -> String {
        let mut capped = LineCap::new(BufReader::with_capacity(at_a_time, input), 5);
        let mut output = String::new();
        capped.read_to_string(&mut output).await.unwrap();
        output
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_cut_and_followed_by_one_that_is_no_message() {
        for at_a_time in 1..20 {
            assert_eq!(capped(b"abcd\n\nab\nabcd", at_a_time).await, "abcd\n\nab\nabcd", "{at_a_time}");
            let output = capped(b"ab\nabcdefghijk\nabcd\n", at_a_time).await;
            let lines: Vec<_> = output.lines().collect();
            assert_eq!((lines[0], lines[2], lines[3], lines.len()), ("ab", "0", "abcd", 4), "{at_a_time}: {output}");
            assert!("abcde".starts_with(lines[1]), "{at_a_time}: {output}");
            assert!(capped(b"abcdefghijk", at_a_time).await.len() <= 5, "{at_a_time}");
        }
    }
}
