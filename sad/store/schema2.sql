-- An association may be of any mechanism: the parameters of its SA set are one of several
-- optional parts, named by the mechanism.
UPDATE association SET body = CAST(
  json_set(
    json_remove(CAST(body AS TEXT), '$.sa_set'),
    '$.ipsec_3gpp', json_extract(CAST(body AS TEXT), '$.sa_set')
  ) AS BLOB
) WHERE json_valid(CAST(body AS TEXT)) AND json_extract(CAST(body AS TEXT), '$.sa_set') IS NOT NULL;
