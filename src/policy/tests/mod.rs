//! Laws and hard cases of the policy, too long to sit beside the code.
