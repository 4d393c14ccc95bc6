//! Who is asking: users, organizations, tokens, sessions, and what a caller may do.
