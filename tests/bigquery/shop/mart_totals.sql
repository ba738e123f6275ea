SELECT 1 AS shop;
