module example.com/rof

go 1.23
