-- Whether a policy keeps files back follows from the policy and the position, and is asked when files are.

alter table models drop column is_license_held;
