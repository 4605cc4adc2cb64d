//! Both levels together, as one worker and two see them.
