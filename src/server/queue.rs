//! A queue that rarely holds more than one.
//!
//! Layer 4, private. The first place is its own; only what waits behind it takes memory elsewhere.

use alloc::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Queue<T> {
    /// `None` only where nothing waits behind it either.
    first: Option<T>,
    behind: VecDeque<T>,
}

impl<T> Queue<T> {
    pub(super) const fn new() -> Self {
        Self {
            first: None,
            behind: VecDeque::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.behind.len()
    }

    pub(super) fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    pub(super) fn back(&self) -> Option<&T> {
        self.behind.back().or(self.first.as_ref())
    }

    pub(super) fn push_back(&mut self, value: T) {
        if self.first.is_none() {
            self.first = Some(value);
        } else {
            self.behind.push_back(value);
        }
    }

    pub(super) fn pop_front(&mut self) -> Option<T> {
        let first = self.first.take();
        if !self.behind.is_empty() {
            self.first = self.behind.pop_front();
        }
        first
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.behind)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.first.iter_mut().chain(&mut self.behind)
    }

    pub(super) fn clear(&mut self) {
        self.first = None;
        self.behind.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Every string of pushes and pops, beside the queue of the library.
    #[test]
    fn it_is_a_queue() {
        for script in 0..1 << 12 {
            let (mut queue, mut twin) = (Queue::new(), VecDeque::new());
            for step in 0..12 {
                if script >> step & 1 == 0 {
                    queue.push_back(step);
                    twin.push_back(step);
                } else {
                    assert_eq!(queue.pop_front(), twin.pop_front());
                }
                assert_eq!(
                    queue.iter().collect::<Vec<_>>(),
                    twin.iter().collect::<Vec<_>>()
                );
                assert_eq!((queue.front(), queue.back()), (twin.front(), twin.back()));
                assert_eq!(
                    (queue.len(), queue.is_empty()),
                    (twin.len(), twin.is_empty())
                );
            }
            queue.iter_mut().for_each(|step| *step += 1);
            twin.iter_mut().for_each(|step| *step += 1);
            assert!(queue.iter().eq(&twin));
            queue.clear();
            assert!(queue.is_empty() && queue.pop_front().is_none());
        }
    }
}
