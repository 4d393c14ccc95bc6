//! Reads weights for the child: what it asks for, and a little ahead of it, so that a distant store need not be waited for.

use std::{collections::VecDeque, fmt, io, ops::Range, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    task::JoinHandle,
};

use super::{
    statistics::OfFile,
    wire::{Ask, Hello, Listed, MAX_PIECE},
};

/// Bytes that are read at once where much is asked for.
const WINDOW: u64 = 4 << 20;
/// Windows that are kept.
const WINDOWS: usize = 2;
/// Pieces of fewer bytes are read alone: rows of a table lie anywhere.
const SMALL: u64 = 128 << 10;

/// Where weights lie.
pub trait Weights: Send + Sync {
    /// Reads bytes of a file, all of them or none; the error says why not.
    fn read(&self, file: usize, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, String>>;
}

/// Files of a model that are not in its folder.
#[derive(Clone)]
pub struct Remote {
    pub(super) files: Vec<Listed>,
    pub(super) weights: Arc<dyn Weights>,
}

impl Remote {
    /// Files of the model, by the numbers that `weights` knows them by: names and lengths in bytes.
    pub fn new(files: impl IntoIterator<Item = (String, u64)>, weights: Arc<dyn Weights>) -> Self {
        let listed = |(name, size)| Listed { of_base: false, name, size, statistics: OfFile::new() };
        Self { files: files.into_iter().map(listed).collect(), weights }
    }

    /// The same, with files of the base, which are numbered on.
    #[must_use]
    pub fn with_base(mut self, files: impl IntoIterator<Item = (String, u64)>) -> Self {
        let listed = |(name, size)| Listed { of_base: true, name, size, statistics: OfFile::new() };
        self.files.extend(files.into_iter().map(listed));
        self
    }

    /// Adds what is known of the values of a file.
    pub fn set_statistics(&mut self, file: usize, statistics: OfFile) {
        if let Some(file) = self.files.get_mut(file) {
            file.statistics = statistics;
        }
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size))
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Talks to the child until it ends; returns why weights could not be read, if it was so.
pub(super) async fn serve(
    mut socket: UnixStream,
    hello: Hello,
    weights: Option<Arc<dyn Weights>>,
) -> Result<(), String> {
    // A child that ends in the middle of a sentence has its own reasons.
    if greet(&mut socket, &hello).await.is_err() {
        return Ok(());
    }
    let Some(weights) = weights else { return Ok(()) };
    let sizes = hello.files.iter().map(|file| file.size).collect();
    let mut ahead = Ahead { weights, sizes, windows: VecDeque::new(), next: None };
    loop {
        let mut question = [0; 16];
        if socket.read_exact(&mut question).await.is_err() {
            return Ok(());
        }
        let Some((file, mut range)) = ahead.place(Ask::decode(question)) else { return Ok(()) };
        while !range.is_empty() {
            let piece = ahead.piece(file, range.clone()).await?;
            range.start += piece.len() as u64;
            if socket.write_all(&piece).await.is_err() {
                return Ok(());
            }
        }
    }
}

async fn greet(socket: &mut UnixStream, hello: &Hello) -> io::Result<()> {
    let text = serde_json::to_vec(hello)?;
    socket.write_all(&u32::try_from(text.len()).map_err(io::Error::other)?.to_le_bytes()).await?;
    socket.write_all(&text).await
}

/// What was read, and what is being read.
struct Ahead {
    weights: Arc<dyn Weights>,
    sizes: Vec<u64>,
    windows: VecDeque<Window>,
    next: Option<(Place, JoinHandle<Result<Bytes, String>>)>,
}

/// Bytes of a file.
type Place = (usize, Range<u64>);

struct Window {
    file: usize,
    start: u64,
    bytes: Bytes,
}

impl Window {
    /// What it holds of these bytes, from their start on.
    fn piece(&self, file: usize, range: &Range<u64>) -> Option<Bytes> {
        let from = usize::try_from(range.start.checked_sub(self.start)?).ok()?;
        let length = usize::try_from(range.end - range.start).ok()?;
        let end = self.bytes.len().min(from.saturating_add(length));
        (self.file == file && from < end).then(|| self.bytes.slice(from..end))
    }
}

impl Ahead {
    /// The bytes that are asked for; `None`: no file has them.
    fn place(&self, ask: Ask) -> Option<Place> {
        let file = usize::try_from(ask.file).ok()?;
        let end = ask.offset.checked_add(ask.length.into())?;
        (ask.length <= MAX_PIECE && end <= *self.sizes.get(file)?).then_some((file, ask.offset..end))
    }

    /// Returns at least the first of these bytes.
    async fn piece(&mut self, file: usize, range: Range<u64>) -> Result<Bytes, String> {
        if let Some(piece) = self.windows.iter().find_map(|window| window.piece(file, &range)) {
            return Ok(piece);
        }
        let is_next = |(of, next): &Place| *of == file && next.contains(&range.start);
        if let Some(((_, next), reading)) = self.next.take_if(|(place, _)| is_next(place)) {
            let bytes = reading.await.map_err(|error| error.to_string())??;
            return self.keep(file, next.start, bytes, &range);
        }
        if range.end - range.start < SMALL {
            return self.weights.read(file, range).await;
        }
        let end = self.sizes[file].min(range.start + WINDOW);
        let bytes = self.weights.read(file, range.start..end).await?;
        self.keep(file, range.start, bytes, &range)
    }

    /// Keeps a window, begins to read the one after it, and returns what is wanted of it.
    fn keep(&mut self, file: usize, start: u64, bytes: Bytes, range: &Range<u64>) -> Result<Bytes, String> {
        let end = start + bytes.len() as u64;
        let window = Window { file, start, bytes };
        let piece = window.piece(file, range).ok_or("the store gave fewer bytes than a file has")?;
        self.windows.truncate(WINDOWS - 1);
        self.windows.push_front(window);
        let after = end..self.sizes[file].min(end + WINDOW);
        if let Some((_, reading)) = self.next.take() {
            reading.abort();
        }
        if !after.is_empty() {
            let (weights, place) = (Arc::clone(&self.weights), after.clone());
            self.next = Some(((file, after), tokio::spawn(async move { weights.read(file, place).await })));
        }
        Ok(piece)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        if let Some((_, reading)) = &self.next {
            reading.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A file of which every byte tells its place.
    struct Counting {
        given: AtomicU64,
    }

    fn listed(size: u64) -> Listed {
        Listed { of_base: false, name: "weights".to_owned(), size, statistics: OfFile::new() }
    }

    fn byte(at: u64) -> u8 {
        at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]
    }

    impl Weights for Counting {
        fn read(&self, _: usize, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, String>> {
            self.given.fetch_add(range.end - range.start, Ordering::Relaxed);
            Box::pin(async move { Ok(range.map(byte).collect::<Vec<u8>>().into()) })
        }
    }

    /// Asks for pieces, and returns how many bytes were read for them.
    async fn asked(size: u64, asks: &[(u64, u32)]) -> u64 {
        let weights = Arc::new(Counting { given: AtomicU64::new(0) });
        let (mut child, parent) = UnixStream::pair().unwrap();
        let hello = Hello { record: None, files: vec![listed(size)] };
        let serving = tokio::spawn(serve(parent, hello, Some(weights.clone())));
        let mut length = [0; 4];
        child.read_exact(&mut length).await.unwrap();
        let mut text = vec![0; u32::from_le_bytes(length) as usize];
        child.read_exact(&mut text).await.unwrap();
        for (offset, length) in asks {
            child.write_all(&Ask { file: 0, offset: *offset, length: *length }.encode()).await.unwrap();
            let mut piece = vec![0; *length as usize];
            child.read_exact(&mut piece).await.unwrap();
            assert!((*offset..).zip(&piece).all(|(at, found)| byte(at) == *found), "{offset}, {length}");
        }
        drop(child);
        serving.await.unwrap().unwrap();
        weights.given.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn pieces_are_what_was_asked_for_wherever_they_lie() {
        let size = 3 * WINDOW + 12_345;
        let large = u32::try_from(WINDOW + 99).unwrap();
        let asks =
            [(0, 200_000), (200_000, large), (7, 5), (size - 3, 3), (WINDOW * 2 - 50, 200_000), (5, large), (9, 0)];
        asked(size, &asks).await;
        asked(size, &[(0, u32::try_from(size).unwrap())]).await;
        asked(10, &[(0, 10), (9, 1), (10, 0)]).await;
    }

    #[tokio::test]
    async fn what_is_read_in_order_is_read_once_and_rows_are_read_alone() {
        let size = 5 * WINDOW;
        let step = 1 << 20;
        let in_order: Vec<(u64, u32)> = (0..size / step).map(|i| (i * step, 1 << 20)).collect();
        assert_eq!(asked(size, &in_order).await, size);
        let rows: Vec<(u64, u32)> = (0..50).map(|i| (i * 97_003, 4096)).collect();
        assert_eq!(asked(size, &rows).await, 50 * 4096);
    }

    #[tokio::test]
    async fn what_no_file_has_is_not_given() {
        for ask in [
            Ask { file: 1, offset: 0, length: 1 },
            Ask { file: 0, offset: 100, length: 1 },
            Ask { file: 0, offset: u64::MAX, length: u32::MAX },
            Ask { file: u32::MAX, offset: 1, length: 0 },
        ] {
            let (mut child, parent) = UnixStream::pair().unwrap();
            let hello = Hello { record: None, files: vec![listed(100)] };
            let weights = Arc::new(Counting { given: AtomicU64::new(0) });
            let serving = tokio::spawn(serve(parent, hello, Some(weights.clone())));
            child.write_all(&ask.encode()).await.unwrap();
            let mut said = Vec::new();
            child.read_to_end(&mut said).await.unwrap();
            assert_eq!(said.len(), 4 + u32::from_le_bytes(said[..4].try_into().unwrap()) as usize, "{ask:?}");
            serving.await.unwrap().unwrap();
            assert_eq!(weights.given.load(Ordering::Relaxed), 0);
        }
    }
}
