module example.org/values/fixture

go 1.21
