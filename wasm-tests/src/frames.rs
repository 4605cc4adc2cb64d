//! HTTP/2 by the frame: requests and resets in any order, which no well-behaved client sends.

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, tcp::OwnedWriteHalf},
    task::AbortHandle,
};

use crate::Stack;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;
const END_STREAM_AND_HEADERS: u8 = 5;
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// An HTTP/2 connection to the gateway whose frames the test writes. What comes back is read and dropped.
#[derive(Debug)]
pub struct Frames {
    writer: OwnedWriteHalf,
    reader: AbortHandle,
    authority: String,
    next: u32,
}

impl Stack {
    /// Opens an HTTP/2 connection for requests that the test resets.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn frames(&self) -> Result<Frames> {
        let address = self.gateway();
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (mut reader, mut writer) = stream.into_split();
        let reader = tokio::spawn(async move {
            let mut dropped = [0; 4096];
            while reader.read(&mut dropped).await.is_ok_and(|read| read > 0) {}
        });
        let mut begin = PREFACE.to_vec();
        frame(&mut begin, SETTINGS, 0, 0, &[]);
        frame(&mut begin, SETTINGS, ACK, 0, &[]);
        writer.write_all(&begin).await?;
        Ok(Frames { writer, reader: reader.abort_handle(), authority: address.to_string(), next: 1 })
    }
}

impl Frames {
    /// Sends a `GET` of `/orders` for each `Authorization`, and resets each at once.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn ask_and_leave(&mut self, authorizations: &[String]) -> Result<()> {
        let mut bytes = Vec::new();
        for authorization in authorizations {
            let stream = self.request(&mut bytes, authorization);
            frame(&mut bytes, RST_STREAM, 0, stream, &CANCEL);
        }
        Ok(self.writer.write_all(&bytes).await?)
    }

    /// Sends a `GET` of `/orders` for each `Authorization`, and returns their streams.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn ask(&mut self, authorizations: &[String]) -> Result<Vec<u32>> {
        let mut bytes = Vec::new();
        let streams = authorizations.iter().map(|authorization| self.request(&mut bytes, authorization)).collect();
        self.writer.write_all(&bytes).await?;
        Ok(streams)
    }

    /// Sends a `GET` of each path, whatever its bytes are.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn get(&mut self, paths: &[&[u8]]) -> Result<()> {
        let mut bytes = Vec::new();
        for path in paths {
            self.send(&mut bytes, path, &[]);
        }
        Ok(self.writer.write_all(&bytes).await?)
    }

    /// Resets these streams.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn leave(&mut self, streams: &[u32]) -> Result<()> {
        let mut bytes = Vec::new();
        streams.iter().for_each(|stream| frame(&mut bytes, RST_STREAM, 0, *stream, &CANCEL));
        Ok(self.writer.write_all(&bytes).await?)
    }

    fn request(&mut self, to: &mut Vec<u8>, authorization: &str) -> u32 {
        self.send(to, b"/orders", &[("authorization", authorization)])
    }

    fn send(&mut self, to: &mut Vec<u8>, path: &[u8], others: &[(&str, &str)]) -> u32 {
        let stream = self.next;
        self.next += 2;
        let mut block = Vec::new();
        header(&mut block, ":path", path);
        for (name, value) in [(":method", "GET"), (":scheme", "http"), (":authority", &self.authority)] {
            header(&mut block, name, value);
        }
        others.iter().for_each(|(name, value)| header(&mut block, name, value));
        frame(to, HEADERS, END_STREAM_AND_HEADERS, stream, &block);
        stream
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Appends a frame (RFC 9113 section 4.1).
pub fn frame(to: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    to.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes()[1..]);
    to.extend_from_slice(&[kind, flags]);
    to.extend_from_slice(&stream.to_be_bytes());
    to.extend_from_slice(payload);
}

/// Appends a header that is never indexed, without Huffman's code (RFC 7541 section 6.2.3).
pub fn header(to: &mut Vec<u8>, name: &str, value: impl AsRef<[u8]>) {
    to.push(0x10);
    literal(to, name.as_bytes());
    literal(to, value.as_ref());
}

/// A string without Huffman's code (RFC 7541 section 5.2).
fn literal(to: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len();
    if length < 0x7f {
        to.push(u8::try_from(length).unwrap_or(0));
    } else {
        to.push(0x7f);
        length -= 0x7f;
        while length >= 0x80 {
            to.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
            length >>= 7;
        }
        to.push(u8::try_from(length).unwrap_or(0));
    }
    to.extend_from_slice(text);
}
