CREATE ROLE hamiran LOGIN PASSWORD '{{ secrets.hamiran_password }}';
CREATE DATABASE hamiran OWNER hamiran;
