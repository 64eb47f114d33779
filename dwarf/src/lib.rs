//! What a Go binary says about itself: places, types, locations, unwinding.
