module family

go 1.21
