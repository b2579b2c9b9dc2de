-- Who decides which records are of one person.
alter table access.user drop constraint user_role_check;
alter table access.user add check (role in ('clinician', 'practice-staff', 'pharmacist', 'social-care', 'community-nurse', 'patient',
    'privacy-officer', 'data-engineer', 'safety-officer', 'data-quality', 'subscriber'));
