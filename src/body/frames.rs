//! [`Frames`]: the list of what a body has given.

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

/// How many frames need no memory of their own: most bodies have no more.
const INLINE: usize = 4;

/// Shared with whoever reads them.
#[derive(Default)]
pub(super) struct Frames {
    first: [Option<Bytes>; INLINE],
    more: Vec<Bytes>,
    // the last frame, if there are any; boxed, since few bodies have them
    trailers: Option<Box<HeaderMap>>,
    count: usize,
}

impl Frames {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.count
    }

    #[inline]
    pub(super) fn push(&mut self, data: Bytes) {
        match self.first.get_mut(self.count) {
            Some(place) => *place = Some(data),
            None => self.more.push(data),
        }
        self.count += 1;
    }

    /// After which there is nothing to push.
    pub(super) fn push_trailers(&mut self, trailers: HeaderMap) {
        self.trailers = Some(Box::new(trailers));
        self.count += 1;
    }

    pub(super) fn get(&self, at: usize) -> Option<Frame<Bytes>> {
        let data = match self.first.get(at) {
            Some(place) => place.as_ref(),
            None => self.more.get(at - INLINE),
        };
        let is_last = at + 1 == self.count;
        match (data, self.trailers.as_deref()) {
            (Some(data), _) => Some(Frame::data(data.clone())),
            (None, Some(trailers)) if is_last => Some(Frame::trailers(trailers.clone())),
            (None, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_in_their_order_however_many_there_are() {
        for count in 0..3 * INLINE {
            let mut frames = Frames::default();
            for number in 0..count {
                frames.push(Bytes::from(vec![number as u8]));
            }
            assert_eq!(frames.len(), count);
            assert!(frames.get(count).is_none());
            frames.push_trailers(HeaderMap::new());
            assert_eq!(frames.len(), count + 1);
            for number in 0..count {
                let frame = frames.get(number).unwrap();
                assert_eq!(frame.into_data().unwrap(), [number as u8].as_slice());
            }
            assert!(frames.get(count).unwrap().is_trailers());
            assert!(frames.get(count + 1).is_none());
        }
    }
}
