-- The people of Harbor. Every instant is a distance from `?1`, the moment the sample is made, so that the demo never ages.

INSERT INTO tenants (id, name, country) VALUES
  ('ten_nordkai',   'Nordkai Freight',      'DE'),
  ('ten_tejo',      'Tejo Shipping',        'PT'),
  ('ten_fjordline', 'Fjordline Chartering', 'NO'),
  ('ten_volta',     'Volta Cargo',          'GH'),
  ('ten_herrera',   'Herrera e Hijos',      'ES'),
  ('ten_bursztyn',  'Bursztyn Spedycja',    'PL'),
  ('ten_kaigan',    'Kaigan Logistics',     'JP'),
  ('ten_lagoon',    'Lagoon Forwarders',    'NG'),
  ('ten_dubois',    'Dubois Transit',       'FR'),
  ('ten_quai',      'Quai Neuf',            'FR'),
  ('ten_lund',      'Lund & Co',            'DK'),
  ('ten_baltic',    'Baltic Brokers',       'EE'),
  ('ten_harbor',    'Harbor',               'NL');

INSERT INTO users (id, tenant_id, email, name, role, marketing_opt_in, created_at, onboarded_at)
SELECT column1, column2, column3, column4, column5, column6,
       strftime('%Y-%m-%dT%H:%M:%SZ', ?1, column7), strftime('%Y-%m-%dT%H:%M:%SZ', ?1, column8)
FROM (VALUES
  ('usr_maren',  'ten_nordkai',   'maren.vogt@nordkai.example',      'Maren Vogt',        'owner',  TRUE,  '-12 days',   NULL),
  ('usr_tomas',  'ten_tejo',      'tomas@tejo-shipping.example',     'Tomás Ribeiro',     'owner',  TRUE,  '-410 days',  '-405 days'),
  ('usr_ingrid', 'ten_fjordline', 'ingrid.solheim@fjordline.example', 'Ingrid Solheim',   'owner',  TRUE,  '-730 days',  '-722 days'),
  ('usr_jonas',  'ten_fjordline', 'jonas.weber@fjordline.example',   'Jonas Weber',       'member', TRUE,  '-90 days',   NULL),
  ('usr_kofi',   'ten_volta',     'kofi.mensah@voltacargo.example',  'Kofi Mensah',       'owner',  TRUE,  '-200 days',  '-198 days'),
  ('usr_lucia',  'ten_herrera',   'lucia@herrera.example',           'Lucía Herrera',     'owner',  TRUE,  '-320 days',  '-300 days'),
  ('usr_piotr',  'ten_bursztyn',  'piotr@bursztyn.example',          'Piotr Zieliński',   'owner',  TRUE,  '-500 days',  '-498 days'),
  ('usr_aiko',   'ten_kaigan',    'aiko.tanaka@kaigan.example',      'Aiko Tanaka',       'owner',  TRUE,  '-40 minutes', NULL),
  ('usr_samuel', 'ten_lagoon',    'samuel@lagoon.example',           'Samuel Okafor',     'owner',  TRUE,  '-35 days',   '-30 days'),
  ('usr_claire', 'ten_dubois',    'claire@dubois.example',           'Claire Dubois',     'owner',  TRUE,  '-260 days',  '-255 days'),
  ('usr_claire2', 'ten_quai',     'claire@dubois.example',           'Claire Dubois',     'owner',  TRUE,  '-6 days',    NULL),
  ('usr_henrik', 'ten_lund',      'henrik@lund.example',             'Henrik Lund',       'owner',  FALSE, '-150 days',  '-149 days'),
  ('usr_nadia',  'ten_baltic',    'nadia.kask@balticbrokers.example', 'Nadia Kask',       'owner',  TRUE,  '-17 days',   '-16 days'),
  ('usr_priya',  'ten_harbor',    'priya.raman@harbor.example',      'Priya Raman',       'owner',  TRUE,  '-900 days',  '-900 days')
);

INSERT INTO subscriptions (tenant_id, price_id, billing_period, seats, status,
                           trial_ends_at, plan_started_at, renews_at, canceled_at, ends_at)
SELECT column1, column2, column3, column4, column5,
       strftime('%Y-%m-%dT%H:%M:%SZ', ?1, column6), strftime('%Y-%m-%dT%H:%M:%SZ', ?1, column7),
       strftime('%Y-%m-%dT%H:%M:%SZ', ?1, column8), strftime('%Y-%m-%dT%H:%M:%SZ', ?1, column9),
       strftime('%Y-%m-%dT%H:%M:%SZ', ?1, column10)
FROM (VALUES
  --                                                        trial ends   plan started  renews       canceled    ends
  ('ten_nordkai',   'price_pro_month',       'month', 3,  'trialing', '+2 days',   NULL,         NULL,        NULL,       NULL),
  ('ten_tejo',      'price_pro_month',       'month', 5,  'active',   NULL,        '-396 days',  '+11 days',  NULL,       NULL),
  ('ten_fjordline', 'price_enterprise_year', 'year',  40, 'active',   NULL,        '-716 days',  '+14 days',  NULL,       NULL),
  ('ten_volta',     'price_starter_month',   'month', 2,  'past_due', NULL,        '-186 days',  '-6 days',   NULL,       NULL),
  ('ten_herrera',   'price_pro_month',       'month', 4,  'canceled', NULL,        '-306 days',  NULL,        '-5 days',  '+9 days'),
  ('ten_bursztyn',  'price_starter_month',   'month', 1,  'ended',    NULL,        '-486 days',  NULL,        '-41 days', '-20 days'),
  ('ten_kaigan',    'price_pro_month',       'month', 3,  'trialing', '+14 days',  NULL,         NULL,        NULL,       NULL),
  ('ten_lagoon',    'price_starter_month',   'month', 2,  'active',   NULL,        '-21 days',   '+9 days',   NULL,       NULL),
  ('ten_dubois',    'price_pro_year',        'year',  6,  'active',   NULL,        '-246 days',  '+119 days', NULL,       NULL),
  ('ten_quai',      'price_starter_month',   'month', 1,  'trialing', '+8 days',   NULL,         NULL,        NULL,       NULL),
  ('ten_lund',      'price_starter_month',   'month', 1,  'active',   NULL,        '-136 days',  '+14 days',  NULL,       NULL),
  ('ten_baltic',    'price_pro_month',       'month', 3,  'trialing', '-3 days',   NULL,         NULL,        NULL,       NULL)
);

INSERT INTO invoices (tenant_id, amount_cents, state, issued_at)
SELECT column1, column2, column3, strftime('%Y-%m-%dT%H:%M:%SZ', ?1, column4)
FROM (VALUES
  ('ten_tejo',        24500, 'paid', '-49 days'),
  ('ten_tejo',        24500, 'paid', '-19 days'),
  ('ten_fjordline', 1180000, 'paid', '-351 days'),
  ('ten_volta',        3800, 'paid', '-36 days'),
  ('ten_volta',        3800, 'open', '-6 days'),
  ('ten_herrera',     19600, 'paid', '-21 days'),
  ('ten_bursztyn',     1900, 'paid', '-51 days'),
  ('ten_lagoon',       3800, 'paid', '-21 days'),
  ('ten_dubois',     294000, 'paid', '-246 days'),
  ('ten_lund',         1900, 'paid', '-16 days')
);

INSERT INTO imports (user_id, module, file_name, row_count, started_at, finished_at)
SELECT column1, column2, column3, column4,
       strftime('%Y-%m-%dT%H:%M:%SZ', ?1, column5), strftime('%Y-%m-%dT%H:%M:%SZ', ?1, column6)
FROM (VALUES
  ('usr_tomas',  'rates',    'rates-lisboa.csv',     312,  '-60 days',    '-60 days'),
  ('usr_ingrid', 'vessels',  'fleet.csv',            86,   '-700 days',   '-700 days'),
  ('usr_samuel', 'carriers', 'west-africa.csv', 1284, '-9 minutes',  '-4 minutes'),
  ('usr_aiko',   'contacts', 'contacts.csv',         640,  '-3 minutes',  NULL)
);
