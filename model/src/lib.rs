//! The restart protocol as a model, checked in every state.
